/* The start: the networks, their pictures, and ways to add one. */
window.Explorer = window.Explorer || {};
(function (explorer) {
  "use strict";
  const { el, fill, image, button, data, address, say, failed, count } = explorer;

  const PAGE = 48;

  function facts(network) {
    const said = [`${count(network.classes)} classes`];
    if (network.input) said.push(`input ${network.input.join("×")} px`);
    said.push(`runs on ${network.device}`);
    return said.join(" · ");
  }

  function card(picture) {
    const made = el("a", { class: "card", href: address.to.picture(picture.key, { network: address.here().query.network }) },
      image(data.pictureUrl(picture.key, 384), "", { loading: "lazy" }),
      el("strong", { text: picture.name }),
      picture.label ? el("span", { class: "quiet", text: picture.label }) : null);
    return el("li", {}, made);
  }

  /* The data set's own pictures, some at a time. */
  function dataPictures({ data: source }) {
    const list = el("ul", { class: "cards many" });
    const more = el("div", {});
    const status = el("p", { class: "quiet", role: "status" });
    async function show() {
      const from = list.childElementCount;
      const told = await data.dataPictures(from, PAGE);
      list.append(...told.pictures.map(card));
      const held = list.childElementCount;
      status.textContent = `${held} of ${told.total} pictures`;
      fill(more, held < told.total ? button(`Show ${Math.min(PAGE, told.total - held)} more`, () => show().catch(failed)) : null);
    }
    show().catch(failed);
    return el("section", { class: "group" }, el("h2", { text: `Pictures of ${source}` }), list, more, status);
  }

  /* Add pictures, then open the last. */
  async function add(files) {
    let last = null;
    for (const file of files) {
      say(`Adding ${file.name || "a picture"} …`);
      last = (await data.addPicture(file.name || "pasted.png", file)).key;
    }
    if (!last) return;
    say("");
    await explorer.refresh();
    address.go(["picture", last], { network: address.here().query.network });
  }

  /* A picture from the camera, after one look at it. */
  async function webcam() {
    const devices = navigator.mediaDevices;
    if (!devices) throw new Error("This browser gives no camera to this page: open it at 127.0.0.1 or localhost.");
    const stream = await devices.getUserMedia({ video: { width: { ideal: 1280 } } }).catch((error) => {
      throw new Error(error.name === "NotFoundError" ? "No camera was found." : "The camera was not allowed.");
    });
    const video = el("video", { autoplay: true, playsinline: true, muted: true, "aria-label": "Camera" });
    video.srcObject = stream;
    const dialog = el("dialog", { class: "camera", "aria-label": "Take a picture" }, video);
    const close = () => {
      stream.getTracks().forEach((track) => track.stop());
      dialog.remove();
    };
    const take = () => {
      const canvas = el("canvas", { width: video.videoWidth, height: video.videoHeight });
      canvas.getContext("2d").drawImage(video, 0, 0);
      canvas.toBlob((blob) => {
        dialog.close();
        add([new File([blob], "webcam.png", { type: "image/png" })]).catch(failed);
      }, "image/png");
    };
    dialog.append(el("div", { class: "row" }, button("Take the picture", take), button("Cancel", () => dialog.close())));
    dialog.addEventListener("close", close);
    document.body.append(dialog);
    dialog.showModal();
  }

  function adder() {
    const choose = el("input", { type: "file", accept: "image/*", multiple: true, class: "unseen", tabindex: "-1", "aria-hidden": "true",
      on: { change: () => add(choose.files).catch(failed) } });
    return el("div", { class: "adder" },
      el("p", { text: "Drop a picture anywhere on this page, or paste one." }),
      el("div", { class: "row" }, choose,
        button("Choose pictures", () => choose.click()),
        button("Use the webcam", () => webcam().catch(failed))));
  }

  async function mount(root, here) {
    const { session } = explorer;
    const strips = await Promise.all(session.networks.map(async (network) => [network, await data.layers(network.id)]));
    fill(root,
      el("div", { class: "heading" },
        el("h1", { tabindex: "-1", text: session.networks.map((each) => each.name).join(" and ") }),
        el("p", { class: "quiet", text: session.networks.length === 1 ? facts(session.networks[0]) : "Two networks side by side" })),
      el("section", { class: "group" },
        el("h2", { text: "Pictures" }),
        el("ul", { class: "cards" }, session.pictures.map(card)),
        adder()),
      session.data ? dataPictures(session) : null,
      strips.map(([network, layers]) =>
        el("section", { class: "group" },
          el("h2", { text: strips.length > 1 ? `Layers of ${network.name}` : "Layers" }),
          strips.length > 1 ? el("p", { class: "quiet", text: facts(network) }) : null,
          explorer.strip(layers, null, (name) =>
            address.to.layer(name, { picture: (session.pictures[0] || {}).key, network: network.id || here.query.network })))),
      el("dl", {},
        fact("Data set", session.data || "none: name one with --data to see the patches that activate a unit most"),
        fact("Indexed layers", session.index || "none: name one with --index, as written by cnnviz patches")));
    return { update() {}, leave() {} };
  }

  function fact(name, text) {
    return el("div", {}, el("dt", { text: name }), el("dd", { text }));
  }

  /* Pictures dropped or pasted on any view. */
  function listen() {
    const files = (list) => [...(list || [])].filter((file) => file.type.startsWith("image/") || !file.type);
    let over = 0;
    const mark = (change) => {
      over = Math.max(0, over + change);
      document.body.classList.toggle("dropping", over > 0);
    };
    window.addEventListener("dragenter", () => mark(1));
    window.addEventListener("dragleave", () => mark(-1));
    window.addEventListener("dragover", (event) => event.preventDefault());
    window.addEventListener("drop", (event) => {
      event.preventDefault();
      over = 0;
      mark(0);
      const dropped = files(event.dataTransfer.files);
      if (dropped.length) add(dropped).catch(failed);
      else say("That is no picture file.", { error: true });
    });
    window.addEventListener("paste", (event) => {
      const pasted = files(event.clipboardData && event.clipboardData.files);
      if (pasted.length) add(pasted).catch(failed);
    });
  }

  explorer.views = explorer.views || {};
  explorer.views.start = { identity: ({ query }) => `start ${query.network || ""}`, title: () => "Pictures and layers", mount };
  Object.assign(explorer, { listenForPictures: listen, addPictures: add });
})(window.Explorer);
