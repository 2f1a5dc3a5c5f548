// What web-platform-tests check of a parser in eventsource/, in cases of our own.

import { expect, test } from "vitest";
import { parser } from "../../src/parse.js";

type Part = { type: string; data: string; id?: string | undefined } | { id: string } | { retry: number } | "comment";

function parse(bytes: Uint8Array | string, sizes: (rest: number) => number = (rest) => rest): Part[] {
  const parts: Part[] = [];
  const feed = parser({
    frame: (frame) => parts.push(frame.id === undefined ? { type: frame.type, data: frame.data } : frame),
    id: (id) => parts.push({ id }),
    retry: (retry) => parts.push({ retry }),
    comment: () => parts.push("comment"),
  });
  const all = typeof bytes === "string" ? new TextEncoder().encode(bytes) : bytes;
  for (let at = 0; at < all.length; ) {
    const size = Math.max(1, sizes(all.length - at));
    feed(all.subarray(at, at + size));
    at += size;
  }
  return parts;
}

const message = (data: string, id?: string): Part =>
  id === undefined ? { type: "message", data } : { type: "message", data, id };

const cases: [name: string, bytes: string, parts: Part[]][] = [
  [
    "one byte order mark goes, at the beginning alone",
    "\uFEFFdata: a\n\n\uFEFFdata: b\n\ndata: c\n\n",
    [message("a"), message("c")],
  ],
  ["a second byte order mark is part of a field's name", "\uFEFF\uFEFFdata: a\n\ndata: b\n\n", [message("b")]],
  [
    "comments are anywhere, and may be long",
    `:\ndata: a\r:id: 9\r\n:${"c".repeat(3000)}\n: \0\ndata: b\n\n`,
    ["comment", "comment", "comment", "comment", message("a\nb")],
  ],
  ["the end of a stream is no blank line", "retry: 5\ndata: a\n\nid: 1\ndata: b\n", [{ retry: 5 }, message("a")]],
  [
    "data may be empty, and a field may have no colon",
    "data\n\ndata:\ndata\n\ndata: \ndata: a\n\n",
    [message(""), message("\n"), message("\na")],
  ],
  [
    "the name of an event holds for that event",
    "event: one\ndata: a\n\ndata: b\n\n",
    [{ type: "one", data: "a" }, message("b")],
  ],
  ["an empty name is none", "event: one\nevent:\ndata: a\n\n", [message("a")]],
  [
    "the last field of a name counts",
    "event: a\nevent: b\nid: 1\nid: 2\ndata: x\n\n",
    [{ type: "b", data: "x", id: "2" }],
  ],
  ["an id may be any text", "id: ünï çødé\ndata: a\n\n", [message("a", "ünï çødé")]],
  [
    "an id is reset by an empty one",
    "id: 7\ndata: a\n\ndata: b\n\nid\ndata: c\n\n",
    [message("a", "7"), message("b"), message("c", "")],
  ],
  [
    "an id without data is no event",
    "id: 7\n\ndata: a\n\nevent: x\nid: 8\n\n",
    [{ id: "7" }, message("a"), { id: "8" }],
  ],
  [
    "an id with a null is ignored",
    "id: a\0b\ndata: x\n\nid: 7\nid: \0\ndata: y\n\n",
    [message("x"), message("y", "7")],
  ],
  [
    "names of fields are exact",
    "Data: a\n data: b\nda ta: c\ndata : d\n\0data: e\ndata\t: f\ndata:  g\n\n",
    [message(" g")],
  ],
  ["one space after the colon goes", "data:a\ndata: b\ndata:  c\ndata:\td\n\n", [message("a\nb\n c\n\td")]],
  ["a colon may be part of a value", "data: a: b\nid: c:d\n\n", [message("a: b", "c:d")]],
  [
    "retry takes digits alone",
    "retry: 10\nretry: 1e3\nretry: -1\nretry: +1\nretry: 1.5\nretry:  2\nretry\nretry:\nretry: 020\n\n",
    [{ retry: 10 }, { retry: 20 }],
  ],
  ["unknown fields are ignored", "what\ndata: a\nso: ever\n\n", [message("a")]],
  [
    "lines end in any of three ways",
    "data: a\rdata: b\ndata: c\r\n\rdata: d\r\r\ndata: e\n\r\n",
    [message("a\nb\nc"), message("d"), message("e")],
  ],
  ["a null is text", "data: \0\n\n\n", [message("\0")]],
  ["a character may be cut", "data: 😀…\nid: é\n\n", [message("😀…", "é")]],
  ["a name without data is no event, and is forgotten", "event: a\n\ndata: b\n\n", [message("b")]],
];

test.each(cases)("%s", (_, bytes, parts) => {
  expect(parse(bytes)).toEqual(parts);
  expect(parse(bytes, () => 1)).toEqual(parts);
  for (let cut = 1; cut < Math.min(bytes.length, 100); cut += 1) {
    expect(parse(bytes, () => cut)).toEqual(parts);
  }
});

test("bytes that are no UTF-8 become replacement characters", () => {
  expect(parse(new Uint8Array([...new TextEncoder().encode("data:ok"), 0xff, 0xc3, 10, 10]))).toEqual([
    message("ok\uFFFD\uFFFD"),
  ]);
});

test("an event is complete at a carriage return that ends a chunk", () => {
  const parts: unknown[] = [];
  const feed = parser({ frame: (frame) => parts.push(frame.data), id() {}, retry() {}, comment() {} });
  feed(new TextEncoder().encode("data: a\r\r"));
  expect(parts).toEqual(["a"]);
  feed(new TextEncoder().encode("\ndata: b\n\n"));
  expect(parts).toEqual(["a", "b"]);
});

test("an event that is cut off before its blank line is no event", () => {
  const whole = "event: a\ndata: b\nid: 1\n\n";
  for (let at = 0; at < whole.length; at += 1) expect(parse(whole.slice(0, at))).toEqual([]);
});

test("a line of megabytes in small chunks takes no more than its bytes", () => {
  const line = "x".repeat(4 << 20);
  expect(parse(`data: ${line}\n\n`, () => 4096)).toEqual([message(line)]);
});
