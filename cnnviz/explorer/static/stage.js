/* A picture on which a map lies, a place is outlined and parts are hidden; pointer and keys alike. */
window.Explorer = window.Explorer || {};
(function (explorer) {
  "use strict";
  const { el, image, data } = explorer;
  const SIDE = 1024;
  const STEP = 1 / 40;

  /* Options: picture {key, name, width, height}, geometry {crop, input}, name of the network or "",
     on: {point(place, pinned), leave(), stroke(place, phase)} where place = {x, y, input: [x, y] or null} in pixels. */
  function stage(options) {
    const { picture, geometry, on } = options;
    const base = image(data.pictureUrl(picture.key, SIDE), "", { class: "base" });
    const seen = el("img", { class: "seen", alt: "", hidden: true });
    const overlay = el("img", { class: "map", alt: "", hidden: true });
    const plain = el("img", { class: "plain", alt: "", hidden: true });
    const outline = el("div", { class: "outline", hidden: true });
    const cross = el("div", { class: "cross", hidden: true });
    const marks = el("canvas", { class: "marks", width: 1, height: 1 });
    const frame = el(
      "div",
      {
        class: "frame",
        tabindex: "0",
        role: "application",
        "aria-roledescription": "picture",
        "aria-label": `${picture.name}${options.name ? `, ${options.name}` : ""}. Arrow keys move over the picture, Enter holds the place or hides it.`,
      },
      base, seen, overlay, plain, marks, outline, cross,
    );
    frame.classList.toggle("small", picture.width <= 320);
    let map = null;
    let opacity = null;
    let hiding = false;
    let painting = false;
    let at = null;
    let held = false;

    const [left, top, right, bottom] = geometry.crop;
    const [height, width] = geometry.input;

    /* A place of the picture, in its pixels and in those of the network's input; no input place outside the crop. */
    function placeAt(x, y) {
      const input = [((x - left) * width) / (right - left), ((y - top) * height) / (bottom - top)];
      const inside = input[0] >= 0 && input[1] >= 0 && input[0] < width && input[1] < height;
      return { x, y, input: inside ? input : null };
    }

    function placeOf(event) {
      const box = frame.getBoundingClientRect();
      return placeAt(
        clamp(((event.clientX - box.left) / box.width) * picture.width, picture.width),
        clamp(((event.clientY - box.top) / box.height) * picture.height, picture.height),
      );
    }

    const clamp = (value, most) => Math.min(Math.max(value, 0), most - 1e-3);

    /* Put an element over a box [left, top, right, bottom] of the picture's pixels. */
    function over(element, box) {
      element.style.left = `${(100 * box[0]) / picture.width}%`;
      element.style.top = `${(100 * box[1]) / picture.height}%`;
      element.style.width = `${(100 * (box[2] - box[0])) / picture.width}%`;
      element.style.height = `${(100 * (box[3] - box[1])) / picture.height}%`;
    }

    function point(place) {
      at = place;
      if (!held) mark(place);
    }

    function mark(place) {
      cross.style.left = `${(100 * place.x) / picture.width}%`;
      cross.style.top = `${(100 * place.y) / picture.height}%`;
    }

    frame.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      point(placeOf(event));
      if (!hiding) return;
      painting = true;
      frame.setPointerCapture(event.pointerId);
      event.preventDefault();
      frame.focus({ preventScroll: true });
      on.stroke(at, "start");
    });
    frame.addEventListener("pointermove", (event) => {
      point(placeOf(event));
      if (painting) on.stroke(at, "move");
      on.point(at, false);
    });
    const end = () => {
      if (!painting) return;
      painting = false;
      on.stroke(at, "end");
    };
    frame.addEventListener("pointerup", end);
    frame.addEventListener("pointercancel", end);
    frame.addEventListener("click", (event) => {
      if (hiding) return;
      point(placeOf(event));
      on.point(at, true);
    });
    frame.addEventListener("pointerleave", () => on.leave());

    const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    frame.addEventListener("keydown", (event) => {
      const move = MOVES[event.key];
      if (move && !event.altKey && !event.ctrlKey && !event.metaKey) {
        const step = STEP * Math.min(picture.width, picture.height) * (event.shiftKey ? 4 : 1);
        const from = at || { x: picture.width / 2, y: picture.height / 2 };
        point(placeAt(clamp(from.x + move[0] * step, picture.width), clamp(from.y + move[1] * step, picture.height)));
        mark(at);
        cross.hidden = false;
        on.point(at, false);
      } else if (event.key === "Enter" || event.key === " ") {
        point(at || placeAt(picture.width / 2, picture.height / 2));
        cross.hidden = false;
        if (hiding) {
          on.stroke(at, "start");
          on.stroke(at, "end");
        } else on.point(at, true);
      } else return;
      event.preventDefault();
    });
    frame.addEventListener("blur", () => (cross.hidden = !held));

    /* Load the bare map, which is wanted only under another opacity. */
    async function drawPlain() {
      if (map) await loaded(plain, await data.image(data.shown(map.plain, SIDE)));
    }

    /* The map as it is saved, unless another opacity was asked for: then the bare map over the picture. */
    function drawMap() {
      const bare = map !== null && opacity !== null;
      overlay.hidden = !map || bare || !seen.hidden;
      plain.hidden = !bare;
      plain.style.opacity = bare ? opacity : 1;
    }

    return {
      element: frame,
      geometry,
      /* Show a map's answer, or null; comes when it is drawn. */
      async show(answer) {
        if (answer) {
          await loaded(overlay, await data.image(data.shown(answer.image, SIDE)));
          overlay.alt = `Map for ${answer.target}`;
        }
        map = answer;
        if (opacity !== null) await drawPlain();
        drawMap();
        frame.dataset.map = answer ? answer.id : "";
      },
      /* From 0 to 1, or null for the overlay as it is saved. */
      async opacity(value) {
        opacity = value;
        if (value !== null) await drawPlain();
        drawMap();
      },
      hiding(value) {
        hiding = value;
        frame.classList.toggle("hiding", value);
      },
      /* The network's input with places hidden, or null. */
      async masked(url) {
        if (url) await loaded(seen, await data.image(url));
        seen.hidden = !url;
        over(seen, geometry.crop);
        drawMap();
      },
      /* Outline a box of the input's pixels, cut at the input's ends; null for none. */
      outline(box) {
        outline.hidden = !box;
        if (!box) return;
        const x = (value) => left + (Math.min(Math.max(value, 0), width) * (right - left)) / width;
        const y = (value) => top + (Math.min(Math.max(value, 0), height) * (bottom - top)) / height;
        over(outline, [x(box[0]), y(box[1]), x(box[2]), y(box[3])]);
      },
      held(place) {
        held = place !== null;
        outline.classList.toggle("held", held);
        cross.hidden = !held;
        if (held) mark(place);
      },
      /* Strokes {x, y, radius} of the picture's pixels that the network has not seen yet. */
      strokes(list) {
        const box = frame.getBoundingClientRect();
        marks.width = Math.round(box.width);
        marks.height = Math.round(box.height);
        const pen = marks.getContext("2d");
        const scale = marks.width / picture.width;
        pen.fillStyle = "#808080";
        for (const each of list) {
          pen.beginPath();
          pen.arc(each.x * scale, each.y * scale, each.radius * scale, 0, 7);
          pen.fill();
        }
      },
    };
  }

  function loaded(element, source) {
    if (element.src && element.getAttribute("src") === source) return element.decode().catch(() => null);
    element.src = source;
    return element.decode().catch(() => null);
  }

  explorer.stage = stage;
})(window.Explorer);
