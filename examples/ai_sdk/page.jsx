// A chat page with the AI SDK's own hook.
import { useChat } from "@ai-sdk/react";
import { useEffect, useLayoutEffect, useRef, useState } from "react";
import { createRoot } from "react-dom/client";

function Chat({ id, before }) {
  // With `resume`, the hook asks for the chat's answer as soon as the page is there.
  const { messages, sendMessage, regenerate, status, error } = useChat({ id, messages: before, resume: true });
  const [prompt, setPrompt] = useState("");
  useEndInView();
  const isRunning = status === "submitted" || status === "streaming";

  function ask(text) {
    history.replaceState(null, "", `?chat=${id}`);
    sendMessage({ text });
    setPrompt("");
  }
  // The hook's own `stop` closes this page's stream. The answer is the server's, and other pages may read it.
  const stop = () => fetch(`/api/chat/${id}/stop`, { method: "POST" });

  return (
    <>
      <main aria-busy={isRunning} data-status={status}>
        {messages.length === 0 && !isRunning && <Welcome ask={ask} />}
        {messages.map((message) => (
          <article key={message.id} className={message.role}>
            <h2 className="unseen">{message.role === "user" ? "You" : "Answer"}</h2>
            {message.parts.map((part, n) => part.type === "text" && <p key={n}>{part.text}</p>)}
          </article>
        ))}
        {status === "submitted" && <p className="dots" aria-label="Waiting for the answer"><i /><i /><i /></p>}
        {error && (
          <p className="error" role="alert">
            <span>{error.message}</span>
            <button onClick={() => regenerate()}>Try again</button>
          </p>
        )}
      </main>
      <form onSubmit={(event) => { event.preventDefault(); if (prompt.trim() && !isRunning) ask(prompt.trim()); }}>
        <input id="prompt" aria-label="Your question" placeholder="Ask anything" autoComplete="off"
          value={prompt} onChange={(event) => setPrompt(event.target.value)} />
        {isRunning ? <button type="button" id="stop" onClick={stop}>Stop</button> : <button id="send">Ask</button>}
      </form>
    </>
  );
}

/** Keeps the end of the page in view for whoever is looking at it. */
function useEndInView() {
  const follows = useRef(true);
  useEffect(() => {
    const look = () => {
      const { scrollTop, clientHeight, scrollHeight } = document.scrollingElement;
      follows.current = scrollTop + clientHeight >= scrollHeight - 80;
    };
    addEventListener("scroll", look);
    return () => removeEventListener("scroll", look);
  }, []);
  useLayoutEffect(() => {
    if (follows.current) document.scrollingElement.scrollTop = document.scrollingElement.scrollHeight;
  });
}

function Welcome({ ask }) {
  return (
    <section>
      <h2>A plain <code>useChat</code>, with answers that survive a reload.</h2>
      <p>Ask something, and reload the page in mid-answer. Or open this chat in a second tab, and stop the answer there.</p>
      {["How can an answer outlive this page?", "Tell me a very long story", "Fail halfway, please"].map((text) => (
        <button key={text} onClick={() => ask(text)}>{text}</button>
      ))}
    </section>
  );
}

const chat = new URLSearchParams(location.search).get("chat");
const before = chat ? await (await fetch(`/api/chat/${encodeURIComponent(chat)}`)).json() : [];
createRoot(document.getElementById("root")).render(<Chat id={chat ?? crypto.randomUUID()} before={before} />);
