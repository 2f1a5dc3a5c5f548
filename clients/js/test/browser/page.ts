// The page of the tests. Its query says what it does; `got`, `gaps` and `states` say what happened.

export const PAGE = `<!doctype html>
<title>client</title>
<script type="module">
  import { connect } from "/files/index.js";
  const query = new URLSearchParams(location.search);
  // What a page keeps over a reload, in the same step as the position.
  const kept = query.has("storage") ? JSON.parse(sessionStorage.getItem("got") ?? "[]") : [];
  Object.assign(window, { got: kept, gaps: [], states: [], shown: 0 });
  window.open_ = (path, more = {}) => {
    const options = { maxWait: 300, connectTimeout: 2000, ...more };
    if (query.has("share")) options.share = true;
    if (query.has("storage")) options.storage = sessionStorage;
    if (query.has("from")) options.lastEventId = query.get("from");
    const stream = connect(path, options);
    stream.on("message", ({ data }) => {
      got.push(data);
      if (query.has("storage")) sessionStorage.setItem("got", JSON.stringify(got));
    });
    stream.on("gap", ({ data }) => gaps.push(data.reason));
    stream.on("state", ({ name }) => states.push(name));
    return stream;
  };
  addEventListener("pageshow", ({ persisted }) => persisted && (window.shown += 1));
  if (query.has("path")) window.stream = open_(query.get("path"));
  // Reads a stream to so many events, and returns them.
  window.read = (path, count) => new Promise((resolve) => {
    const stream = connect(path, { maxWait: 300 });
    const data = [];
    stream.on("message", (event) => {
      data.push(event.data);
      if (data.length === count) setTimeout(() => (stream.close(), resolve(data)), 0);
    });
  });
  window.ready = true;
</script>`;
