/* The page: its head, and the view that the address names. */
window.Explorer = window.Explorer || {};
(function (explorer) {
  "use strict";
  const { el, fill, button, data, address, say, failed } = explorer;
  let current = null;
  let turn = 0;

  function viewOf({ path }) {
    if (path[0] === "picture" && path.length === 2) return explorer.views.picture;
    if (path[0] === "layer" && path.length === 2) return explorer.views.layer;
    if (path[0] === "layer" && path[2] === "unit" && path.length === 4) return explorer.views.unit;
    return explorer.views.start;
  }

  /* Show what the address names: the present view answers if it can, else another takes its place. */
  async function show() {
    const here = address.here();
    const view = viewOf(here);
    const identity = view.identity(here);
    const own = ++turn;
    drawTop(here);
    document.title = `${view.title(here)} – cnnviz explorer`;
    if (current && current.identity === identity) {
      await current.ready.then((held) => held.update(here)).catch(failed);
      return;
    }
    const first = current === null;
    if (current) {
      current.ready.then((held) => held.leave(), () => null);
      data.leave();
    }
    say("");
    const root = el("div", { class: "view", "aria-busy": "true" });
    const ready = view.mount(root, here);
    current = { identity, ready };
    const waiting = window.setTimeout(() => own === turn && !root.childElementCount && fill(document.getElementById("view"), el("p", { class: "quiet waiting", text: "Asking the network …" })), 250);
    try {
      const shown = watch(root, own, first, waiting);
      await ready;
      await shown;
    } catch (error) {
      if (own !== turn) return;
      failed(error);
      broken(root, error);
      place(root, first);
    } finally {
      window.clearTimeout(waiting);
      root.removeAttribute("aria-busy");
    }
  }

  /* Put a view into the page as soon as it has something to show. */
  function watch(root, own, first) {
    return new Promise((resolve) => {
      const seen = new MutationObserver(() => {
        if (!root.childElementCount) return;
        seen.disconnect();
        if (own === turn) place(root, first);
        resolve();
      });
      seen.observe(root, { childList: true });
    });
  }

  function place(root, first) {
    fill(document.getElementById("view"), root);
    if (first) return;
    window.scrollTo(0, 0);
    const heading = root.querySelector("h1");
    if (heading) heading.focus({ preventScroll: true });
  }

  function broken(root, error) {
    fill(root,
      el("h1", { tabindex: "-1", text: "This cannot be shown" }),
      el("p", { class: "missing", text: error.message }),
      el("p", {}, el("a", { href: address.to.start(), text: "All pictures and layers" })));
  }

  function drawTop(here) {
    const { session } = explorer;
    const key = here.path[0] === "picture" ? here.path[1] : here.query.picture || (session.pictures[0] || {}).key;
    const network = session.networks.find((each) => String(each.id) === here.query.network) || session.networks[0];
    const layer = here.path[0] === "layer" ? here.path[1] : here.query.layer || network.layer;
    const link = (text, href, on) => el("a", { href, text, "aria-current": on ? "page" : null });
    const open = el("input", { type: "file", accept: ".json,application/json", class: "unseen", tabindex: "-1", "aria-hidden": "true", on: { change: () => reopen(open.files[0]) } });
    fill(document.getElementById("top"),
      el("a", { class: "brand", href: address.to.start(), text: "cnnviz explorer" }),
      el("nav", { "aria-label": "Views" },
        link("Start", address.to.start(), here.path.length === 0),
        key ? link("Picture", address.to.picture(key, { network: here.query.network }), here.path[0] === "picture") : null,
        key && layer ? link("Layers", address.to.layer(layer, { picture: key, network: here.query.network }), here.path[0] === "layer") : null),
      el("div", { class: "session" }, open,
        ofSession("Save", () => data.saveSession(window.location.hash).then(() => say("Session saved."), failed)),
        ofSession("Open", () => open.click())));
  }

  /* A button about the session; on a phone the verb has to do. */
  function ofSession(verb, act) {
    const made = button(verb, act, { "aria-label": `${verb} session` });
    made.append(el("span", { class: "desk", text: " session" }));
    return made;
  }

  async function reopen(file) {
    try {
      const { view } = await data.openSession(file);
      data.forget();
      await explorer.refresh();
      current = null;
      if (view && view !== window.location.hash) window.location.hash = view;
      else await show();
    } catch (error) {
      failed(error);
    }
  }

  explorer.refresh = async () => {
    const session = await data.session();
    for (const network of session.networks) {
      if (network.layer) continue;
      const spatial = (await data.layers(network.id)).filter((layer) => layer.spatial);
      network.layer = spatial.length ? spatial[spatial.length - 1].name : "";
    }
    explorer.session = session;
  };

  async function start() {
    try {
      await explorer.refresh();
    } catch (error) {
      const root = document.getElementById("view");
      fill(root, el("h1", { text: "The explorer cannot start" }), el("p", { class: "missing", text: error.message }));
      return;
    }
    const skip = document.getElementById("skip");
    skip.addEventListener("click", (event) => {
      event.preventDefault();
      document.getElementById("view").focus();
    });
    explorer.listenForPictures();
    window.addEventListener("hashchange", show);
    await show();
  }

  start();
})(window.Explorer);
