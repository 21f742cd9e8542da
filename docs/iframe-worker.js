// Lets the search work in pages that are opened from a folder. Browsers start no worker there, so a frame stands in for it.
// The theme loads a script of this name from elsewhere unless there is one here.
if (location.protocol === "file:") {
  window.IFrameWorker = window.Worker = class extends EventTarget {
    #inside;
    #isReady;

    constructor(address) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      this.#inside = frame.contentWindow;
      this.#inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data })); // what the script answers
      const script = this.#inside.document.createElement("script");
      script.src = address;
      this.#isReady = new Promise((resolve) => { script.onload = resolve; });
      this.#inside.document.body.append(script);
    }

    postMessage(data) {
      this.#isReady.then(() => this.#inside.dispatchEvent(new MessageEvent("message", { data })));
    }
  };
}
