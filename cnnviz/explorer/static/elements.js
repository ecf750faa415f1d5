/* Elements of the page, made from text: nothing that comes from a network, a file or a server is ever read as HTML. */
window.Explorer = window.Explorer || {};
(function (explorer) {
  "use strict";

  /* An element. Options: "class", "text", "on" (listeners), anything else is an attribute; null and false are left out. */
  function el(tag, options, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(options || {})) {
      if (value === null || value === undefined || value === false) continue;
      if (name === "text") made.textContent = value;
      else if (name === "on") for (const [event, act] of Object.entries(value)) made.addEventListener(event, act);
      else if (name === "value") made.value = value;
      else made.setAttribute(name, value === true ? "" : String(value));
    }
    made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
    return made;
  }

  /* A picture of the server. It is there when its promise "ready" has come. */
  function image(url, alt, options) {
    const made = el("img", { alt, draggable: "false", ...options });
    made.ready = explorer.data.image(url).then(
      (source) =>
        new Promise((resolve) => {
          made.addEventListener("load", resolve, { once: true });
          made.addEventListener("error", resolve, { once: true });
          made.src = source;
        }),
      () => null,
    );
    return made;
  }

  function button(text, act, options) {
    return el("button", { type: "button", text, on: { click: act }, ...options });
  }

  /* A form's part with its label in front. */
  function labelled(text, field, options) {
    return el("label", { class: "labelled", ...options }, el("span", { text }), field);
  }

  /* A menu. Choices: [value, text] pairs. */
  function menu(choices, chosen, change, options) {
    const made = el("select", { on: { change: () => change(made.value) }, ...options });
    for (const [value, text] of choices) made.append(el("option", { value, text }));
    made.value = chosen;
    return made;
  }

  function fill(parent, ...children) {
    parent.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
    return parent;
  }

  /* A number as a reader wants it: three significant digits, no exponent where it can be avoided. */
  function number(value) {
    if (value === null || value === undefined) return "–";
    if (!Number.isFinite(value)) return String(value).replace("Infinity", "∞");
    if (value === 0) return "0";
    const size = Math.abs(value);
    if (size >= 100000 || size < 0.0005) return minus(value.toExponential(1));
    const digits = size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3;
    return minus(value.toFixed(digits));
  }

  function minus(text) {
    return text.replace(/-/g, "−");
  }

  function percent(fraction) {
    const value = 100 * fraction;
    if (value > 0 && value < 0.1) return "<0.1%";
    if (value > 99.9 && value < 100) return ">99.9%";
    return `${value.toFixed(1)}%`;
  }

  /* Thousands and millions in short: 23.5M, 1.8k. */
  function count(value) {
    if (value >= 1e6) return `${(value / 1e6).toFixed(value >= 1e8 ? 0 : 1)}M`;
    return value >= 1e4 ? `${(value / 1e3).toFixed(value >= 1e5 ? 0 : 1)}k` : value.toLocaleString("en");
  }

  /* One sentence at the bottom of the window, also spoken; errors stay until the next. */
  let fading = 0;
  function say(sentence, { error = false } = {}) {
    const status = document.getElementById("status");
    window.clearTimeout(fading);
    status.textContent = sentence;
    status.hidden = !sentence;
    status.classList.toggle("error", error);
    if (sentence && !error) fading = window.setTimeout(() => say(""), 4000);
  }

  /* What to do with a promise that failed: nothing if its view has been left, else one sentence. */
  function failed(error) {
    if (error && error.name === "AbortError") return;
    say(error && error.message ? error.message : String(error), { error: true });
  }

  /* Calls of which one runs at a time; while it runs, only the latest of the others is kept. */
  function latest(act) {
    let running = false;
    let waiting = null;
    async function call(...question) {
      if (running) {
        waiting = question;
        return;
      }
      running = true;
      try {
        await act(...question);
      } catch (error) {
        failed(error);
      }
      running = false;
      if (waiting) {
        const next = waiting;
        waiting = null;
        call(...next);
      }
    }
    return call;
  }

  Object.assign(explorer, { el, image, button, labelled, menu, fill, number, percent, count, minus, say, failed, latest });
})(window.Explorer);
