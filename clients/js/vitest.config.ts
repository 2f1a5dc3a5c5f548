import { defineConfig } from "vitest/config";

export default defineConfig({
  resolve: {
    alias: [
      { find: /^tower-sse$/, replacement: new URL("./src/index.ts", import.meta.url).pathname },
      { find: /^tower-sse\/react$/, replacement: new URL("./src/react.ts", import.meta.url).pathname },
    ],
  },
  test: {
    include: ["test/unit/**/*.test.{ts,tsx}"],
    typecheck: { enabled: true, include: ["test/unit/**/*.test-d.ts"] },
    testTimeout: 60_000,
  },
});
