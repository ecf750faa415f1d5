/* The maps of thousands of units: one canvas over what is visible, tiles cut from sprites, links over them. */
window.Explorer = window.Explorer || {};
(function (explorer) {
  "use strict";
  const { el, data, number } = explorer;
  const GAP = 6;
  const LETTERS = 20;
  const SPARE = 2;

  /* Options: sprite {pages, tile, columns, rows}, size (a tile's wanted side), href(unit), value(unit). */
  function sheet(options) {
    const canvas = el("canvas", { "aria-hidden": "true" });
    const links = el("ul", { class: "tiles" });
    const ground = el("div", { class: "sheet" }, canvas, links);
    const pages = new Map();
    let order = [];
    let current = 0;
    let across = 1;
    let side = options.size;
    let waiting = 0;
    const perPage = options.sprite.columns * options.sprite.rows;

    /* The page of sprites that holds a unit, loaded when it is first wanted. */
    function pageOf(unit) {
      const number = Math.floor(unit / perPage);
      if (!pages.has(number)) {
        const page = new Image();
        page.decoding = "async";
        pages.set(number, page);
        data.image(options.sprite.pages[number]).then((source) => {
          page.onload = ask;
          page.src = source;
        }, explorer.failed);
      }
      return pages.get(number);
    }

    function measure() {
      const width = ground.clientWidth;
      if (!width) return;
      across = Math.max(1, Math.floor((width + GAP) / (options.size + GAP)));
      side = Math.floor((width + GAP) / across) - GAP;
      ground.style.height = `${rows() * (side + LETTERS + GAP)}px`;
    }

    const rows = () => Math.ceil(order.length / across);

    /* First and one past the last place of the order that are in the window, with a few rows to spare. */
    function visible() {
      const box = ground.getBoundingClientRect();
      const height = side + LETTERS + GAP;
      const first = Math.max(0, Math.floor(-box.top / height) - SPARE);
      const last = Math.min(rows(), Math.ceil((window.innerHeight - box.top) / height) + SPARE);
      return [first, Math.max(first, last)];
    }

    function ask() {
      if (!waiting) waiting = window.requestAnimationFrame(draw);
    }

    function draw() {
      waiting = 0;
      if (!ground.clientWidth) return;
      const [first, last] = visible();
      const sharp = Math.min(window.devicePixelRatio || 1, 2);
      const height = side + LETTERS + GAP;
      const [width, tall] = [ground.clientWidth, (last - first) * height];
      canvas.width = Math.round(width * sharp);
      canvas.height = Math.round(tall * sharp);
      canvas.style.width = `${width}px`;
      canvas.style.height = `${tall}px`;
      canvas.style.top = `${first * height}px`;
      const pen = canvas.getContext("2d");
      pen.imageSmoothingEnabled = false;
      pen.scale(sharp, sharp);
      const held = [];
      for (let place = first * across; place < Math.min(last * across, order.length); place++) {
        const x = (place % across) * (side + GAP);
        const y = (Math.floor(place / across) - first) * height;
        paint(pen, order[place], x, y);
        held.push(link(place, x, y + first * height));
      }
      const focused = links.contains(document.activeElement);
      links.replaceChildren(...held);
      if (focused) focus(current);
      ground.dataset.drawn = String(held.length);
    }

    function paint(pen, unit, x, y) {
      const page = pageOf(unit);
      if (!page.complete || !page.naturalWidth) return;
      const [tall, wide] = options.sprite.tile;
      const place = unit % perPage;
      const left = (place % options.sprite.columns) * wide;
      const top = Math.floor(place / options.sprite.columns) * tall;
      const scale = side / Math.max(tall, wide);
      pen.drawImage(page, left, top, wide, tall, x, y, wide * scale, tall * scale);
    }

    function link(place, x, y) {
      const unit = order[place];
      const made = el(
        "a",
        {
          href: options.href(unit),
          tabindex: place === current ? "0" : "-1",
          "data-place": place,
          "aria-label": `Unit ${unit}, ${number(options.value(unit))}`,
        },
        el("span", { text: `${unit}` }),
        el("span", { class: "quiet", text: number(options.value(unit)) }),
      );
      made.style.transform = `translate(${x}px, ${y}px)`;
      made.style.width = `${side}px`;
      made.style.height = `${side + LETTERS}px`;
      return el("li", {}, made);
    }

    function focus(place) {
      current = Math.min(Math.max(place, 0), order.length - 1);
      for (const each of links.querySelectorAll("a")) {
        const own = Number(each.dataset.place) === current;
        each.tabIndex = own ? 0 : -1;
        if (own && document.activeElement !== each) each.focus({ preventScroll: true });
      }
    }

    ground.addEventListener("focusin", (event) => {
      const place = event.target.dataset.place;
      if (place !== undefined) focus(Number(place));
    });
    ground.addEventListener("keydown", (event) => {
      const moves = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across, Home: -order.length, End: order.length };
      if (!(event.key in moves) || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      const place = Math.min(Math.max(current + moves[event.key], 0), order.length - 1);
      reveal(place);
      focus(place);
    });

    /* Scroll so far that a place can be seen, and draw it now. */
    function reveal(place) {
      const height = side + LETTERS + GAP;
      const top = ground.getBoundingClientRect().top + Math.floor(place / across) * height;
      if (top < 60) window.scrollBy(0, top - 60);
      else if (top + height > window.innerHeight) window.scrollBy(0, top + height - window.innerHeight + 10);
      current = place;
      draw();
    }

    const watcher = new ResizeObserver(() => {
      measure();
      ask();
    });
    watcher.observe(ground);
    window.addEventListener("scroll", ask, { passive: true });

    return {
      element: ground,
      /* Units in the order to be shown in. */
      show(units) {
        order = units;
        current = 0;
        measure();
        ask();
      },
      leave() {
        watcher.disconnect();
        window.removeEventListener("scroll", ask);
      },
    };
  }

  explorer.sheet = sheet;
})(window.Explorer);
