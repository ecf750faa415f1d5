/* What stands after #: the view and its question, the same on every server with the same network. */
window.Explorer = window.Explorer || {};
(function (explorer) {
  "use strict";

  /* "#/layer/features.7/unit/12?picture=cat" as {path: ["layer", "features.7", "unit", "12"], query: {picture: "cat"}}. */
  function parse(hash) {
    const [before, after = ""] = cut(hash.replace(/^#\/?/, ""), "?");
    const path = before.split("/").filter(Boolean).map(decode);
    const query = {};
    for (const pair of after.split("&").filter(Boolean)) {
      const [name, value] = cut(pair, "=");
      query[decode(name)] = decode(value || "");
    }
    return { path, query };
  }

  function cut(text, mark) {
    const place = text.indexOf(mark);
    return place < 0 ? [text] : [text.slice(0, place), text.slice(place + 1)];
  }

  function decode(text) {
    try {
      return decodeURIComponent(text);
    } catch {
      return text;
    }
  }

  function format(path, query) {
    const asked = Object.entries(query || {}).filter(([, value]) => value !== null && value !== undefined && value !== "");
    const after = asked.map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`).join("&");
    return `#/${path.map(encodeURIComponent).join("/")}${after ? `?${after}` : ""}`;
  }

  function here() {
    return parse(window.location.hash);
  }

  /* To another view, as a link leads there. */
  function go(path, query) {
    window.location.hash = format(path, query);
  }

  /* The same view, another question: also a step of the history, so that "back" undoes it. */
  function change(query) {
    const { path, query: old } = here();
    go(path, { ...old, ...query });
  }

  /* Where views are: the part of the query that goes along from view to view. */
  function along(more) {
    const { picture, network } = here().query;
    const held = here().path[0] === "picture" ? here().path[1] : picture;
    return { picture: held, network, ...more };
  }

  const to = {
    start: () => format([], {}),
    picture: (key, query) => format(["picture", key], query),
    layer: (layer, query) => format(["layer", layer], query),
    unit: (layer, unit, query) => format(["layer", layer, "unit", unit], query),
  };

  /* The class that a label or an index in an address names, or null. */
  function classOf(network, name) {
    if (name === undefined || name === null || name === "") return null;
    const place = network.labels.indexOf(name);
    if (place >= 0) return place;
    return /^\d+$/.test(name) && Number(name) < network.classes ? Number(name) : null;
  }

  /* How an address names a class: by its label, by its index where several classes bear the label or none. */
  function nameOf(network, index) {
    const label = network.labels[index];
    return label && network.labels.indexOf(label) === network.labels.lastIndexOf(label) && !/^\d+$/.test(label) ? label : String(index);
  }

  Object.assign(explorer, { address: { parse, format, here, go, change, along, to, classOf, nameOf } });
})(window.Explorer);
