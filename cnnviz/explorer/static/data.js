/* Where views get their data: this one object asks the server. A site of files can put another in its place. */
window.Explorer = window.Explorer || {};
(function (explorer) {
  "use strict";

  const TOKEN = window.EXPLORER_TOKEN || "";
  const KEPT = 400;
  let scope = new AbortController();
  const blobs = new Map();
  const known = new Map();

  /* Ask; the answer's body is not read yet. Everything still running is given up when the view is left. */
  async function ask(path, options) {
    const headers = { ...(options && options.headers), ...(TOKEN ? { "X-Explorer-Token": TOKEN } : {}) };
    let answer;
    try {
      answer = await fetch(path, { signal: scope.signal, credentials: "same-origin", ...options, headers });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Error("The explorer's server does not answer: is the command still running?");
    }
    if (answer.ok) return answer;
    const told = await answer.json().catch(() => null);
    throw new Error(told && told.error ? told.error : `The server answered ${answer.status}.`);
  }

  async function json(path, options) {
    return (await ask(path, options)).json();
  }

  /* Questions whose answers never change while the server runs: asked once. */
  function once(path) {
    if (!known.has(path)) {
      if (known.size >= KEPT) known.delete(known.keys().next().value);
      const answer = json(path, { signal: undefined });
      known.set(path, answer);
      answer.catch(() => known.delete(path));
    }
    return known.get(path);
  }

  function post(path, body, type, options) {
    const content = type ? body : JSON.stringify(body);
    return json(path, { method: "POST", body: content, headers: { "Content-Type": type || "application/json" }, ...options });
  }

  function query(parts) {
    const asked = Object.entries(parts).filter(([, value]) => value !== null && value !== undefined && value !== "");
    const text = asked.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join("&");
    return text ? `?${text}` : "";
  }

  const of = (network, key) => `api/networks/${network}/pictures/${encodeURIComponent(key)}`;
  const layerOf = (network, layer) => `api/networks/${network}/layers/${encodeURIComponent(layer)}`;

  /* Where a picture can be loaded from: its address, or in a notebook's frame, where there is no cookie, a blob. */
  async function image(url) {
    if (!TOKEN) return url;
    if (!blobs.has(url)) {
      const blob = await (await ask(url)).blob();
      if (blobs.size >= KEPT) {
        const [oldest, address] = blobs.entries().next().value;
        URL.revokeObjectURL(address);
        blobs.delete(oldest);
      }
      blobs.set(url, URL.createObjectURL(blob));
    }
    return blobs.get(url);
  }

  async function download(url, name) {
    const answer = await ask(url);
    const told = /filename="?([^";]+)/.exec(answer.headers.get("Content-Disposition") || "");
    const address = URL.createObjectURL(await answer.blob());
    explorer.el("a", { href: address, download: told ? told[1] : name }).click();
    window.setTimeout(() => URL.revokeObjectURL(address), 10000);
  }

  /* Start a job and follow it: "onEvent" gets every event. Its promise comes to {result, cancelled}; a job that is
     cancelled still has what it had made, one that is left has nothing. */
  function job(question, onEvent) {
    const own = new AbortController();
    let number = null;
    let stopped = false;
    async function follow() {
      number = (await post("api/jobs", question, "", { signal: undefined })).job;
      if (stopped) remove();
      const answer = await ask(`api/jobs/${number}/events`, { signal: own.signal });
      for await (const event of events(answer.body)) {
        if (event.error) throw new Error(event.error);
        if (event.done) return { result: event.result || null, cancelled: stopped || event.state === "cancelled" };
        onEvent(event);
      }
      throw new Error("The connection to the explorer's server ended.");
    }
    const remove = () => ask(`api/jobs/${number}`, { method: "DELETE", signal: undefined }).catch(() => null);
    function cancel() {
      stopped = true;
      if (number !== null) remove();
    }
    function leave() {
      cancel();
      own.abort();
    }
    const result = follow().catch((error) => {
      if (stopped || error.name === "AbortError") return { result: null, cancelled: true };
      throw error;
    });
    return { result, cancel, leave };
  }

  /* The events of a text/event-stream, one JSON a line. */
  async function* events(stream) {
    const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
    let held = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      held += value;
      const lines = held.split("\n");
      held = lines.pop();
      for (const line of lines) if (line.startsWith("data:")) yield JSON.parse(line.slice(5));
    }
  }

  explorer.data = {
    /* Whether new questions can be answered; a site of files knows only what was asked beforehand. */
    live: true,
    session: () => json("api/session"),
    addPicture: (name, blob) => post(`api/pictures${query({ name })}`, blob, blob.type || "application/octet-stream"),
    pictureUrl: (key, side) => `api/pictures/${encodeURIComponent(key)}.png${query({ side })}`,
    inputUrl: (network, key) => `${of(network, key)}/input.png`,
    geometry: (network, key) => once(`${of(network, key)}/geometry`),
    classes: (network, key, also) => once(`${of(network, key)}/classes${query({ top: 10, also: also.join(",") })}`),
    hide: (network, key, body) => post(`${of(network, key)}/hide`, body),
    map: (network, key, question) => once(`${of(network, key)}/map${query(question)}`),
    layers: (network) => once(`api/networks/${network}/layers`),
    units: (network, key, layer, target, scale) =>
      once(`${of(network, key)}/layers/${encodeURIComponent(layer)}${query({ target, scale })}`),
    place: (network, key, layer, x, y) =>
      once(`${of(network, key)}/layers/${encodeURIComponent(layer)}/place${query({ x, y })}`),
    unit: (network, layer, unit, picture, target) =>
      json(`${layerOf(network, layer)}/units/${unit}${query({ picture, target })}`),
    patches: (network, layer, unit) => json(`${layerOf(network, layer)}/units/${unit}/patches`),
    /* Pictures of the data set: {pictures, total}. */
    dataPictures: (from, count) => once(`api/data${query({ from: String(from), count })}`),
    /* Where an answer's picture is shown from: drawn for at most so many pixels. */
    shown: (url, side) => `${url}?side=${side}`,
    array: async (url) => new Float32Array(await (await ask(url)).arrayBuffer()),
    image,
    figure: (id, format) => download(`api/figures${query({ of: id, format })}`, `figure.${format}`),
    job,
    saveSession: (view) => download(`api/session/file${query({ view })}`, "explorer-session.json"),
    openSession: (file) => post("api/session/file", file, "application/json"),
    /* Give up what was asked for a view that is left. */
    leave() {
      scope.abort();
      scope = new AbortController();
    },
    /* Forget answers: another session was opened. */
    forget: () => known.clear(),
  };
})(window.Explorer);
