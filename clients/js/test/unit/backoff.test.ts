import { expect, test } from "vitest";
import { backoff, LONGEST, retryAfter } from "../../src/backoff.js";

test("the first wait is the server's, with some jitter", () => {
  expect(backoff(0, 3000, 30_000, 0)).toBe(3000);
  expect(backoff(1, 3000, 30_000, 1)).toBe(3750);
});

test("the range doubles up to the limit, and never goes below what the server asked for", () => {
  const most = [1, 2, 3, 4, 5, 6, 7, 100].map((failures) => backoff(failures, 1000, 30_000, 1));
  expect(most).toEqual([1250, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
  for (let failures = 0; failures < 2000; failures += 1) expect(backoff(failures, 1000, 30_000, 0)).toBe(1000);
  expect(backoff(9, 60_000, 30_000, 0.5)).toBe(67_500);
});

test("no attempt follows another at once, and every wait fits a timer", () => {
  expect(backoff(0, 0, 30_000, 0)).toBe(100);
  expect(backoff(0, 1e12, 30_000, 1)).toBe(LONGEST);
});

test("a Retry-After is a number of seconds or a date", () => {
  const now = Date.parse("2026-01-01T00:00:00Z");
  expect(retryAfter(null, now)).toBeUndefined();
  expect(retryAfter("7", now)).toBe(7000);
  expect(retryAfter("Thu, 01 Jan 2026 00:00:30 GMT", now)).toBe(30_000);
  expect(retryAfter("Thu, 01 Jan 2020 00:00:30 GMT", now)).toBe(100);
  expect(retryAfter("soon", now)).toBeUndefined();
});
