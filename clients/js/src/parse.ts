// Bytes to frames, as "Interpreting an event stream" says (HTML, 9.2.6).
//
// It is not `eventsource-parser`, as good as that is: that one reports no id of a block without data, waits for more after a
// carriage return at the end of a chunk, and is three times as large.

import type { Frame } from "./types.js";

/** What a stream consists of. */
export interface Parts {
  frame(frame: Frame): void;
  /** A block without data: no event, but the position moves on. */
  id(id: string): void;
  retry(ms: number): void;
  comment(): void;
}

/** Returns a function that takes the chunks of one answer. What is left of an event at its end is dropped with it. */
export function parser(parts: Parts): (chunk: Uint8Array) => void {
  // It drops the byte order mark.
  const decoder = new TextDecoder();
  // The line that is not yet complete.
  let rest = "";
  // The last line ended in a carriage return: a line feed that follows belongs to it.
  let returned = false;
  let type = "";
  let data = "";
  let id: string | undefined;

  const line = (text: string) => {
    if (text === "") {
      // "If the data buffer's last character is a U+000A LINE FEED, then remove the last character."
      if (data) parts.frame({ type: type || "message", data: data.slice(0, -1), id });
      else if (id !== undefined) parts.id(id);
      type = data = "";
      id = undefined;
      return;
    }
    const [, field, value = ""] = /^([^:]*)(?:: ?(.*))?$/s.exec(text)!;
    if (field === "data") data += `${value}\n`;
    else if (field === "event") type = value;
    else if (field === "id" && !value.includes("\0")) id = value;
    else if (field === "retry" && /^\d+$/.test(value)) parts.retry(Number(value));
    else if (field === "") parts.comment();
  };

  return (chunk) => {
    let text = decoder.decode(chunk, { stream: true });
    if (text && returned) {
      returned = false;
      if (text[0] === "\n") text = text.slice(1);
    }
    // A long line grows without a look at what was looked at before.
    if (!/[\r\n]/.test(text)) {
      rest += text;
      return;
    }
    returned = text.endsWith("\r");
    const lines = (rest + text).split(/\r\n|\n|\r/);
    rest = lines.pop()!;
    lines.forEach(line);
  };
}
