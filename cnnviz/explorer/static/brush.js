/* What is hidden of a picture: strokes that can be undone, in the picture's own pixels. */
window.Explorer = window.Explorer || {};
(function (explorer) {
  "use strict";

  /* Radius is a share of the picture's shorter side. */
  function brush(picture) {
    const shorter = Math.min(picture.width, picture.height);
    let strokes = [];
    let undone = [];
    const radius = (share) => (share * shorter) / 2;

    /* Circles from the last one to a place, half a radius apart, so that a fast pointer leaves no gaps. */
    function draw(stroke, place, size) {
      const last = stroke[stroke.length - 1];
      const distance = last ? Math.hypot(place.x - last.x, place.y - last.y) : 0;
      const steps = last ? Math.ceil(distance / (size / 2)) : 1;
      const from = last || place;
      for (let step = 1; step <= steps; step++) {
        const part = step / steps;
        stroke.push({ x: from.x + part * (place.x - from.x), y: from.y + part * (place.y - from.y), radius: size });
      }
    }

    return {
      get empty() {
        return strokes.length === 0;
      },
      get undoable() {
        return strokes.length > 0;
      },
      get redoable() {
        return undone.length > 0;
      },
      start(place, share) {
        undone = [];
        strokes.push([]);
        draw(strokes[strokes.length - 1], place, radius(share));
      },
      move(place, share) {
        if (strokes.length) draw(strokes[strokes.length - 1], place, radius(share));
      },
      undo() {
        if (strokes.length) undone.push(strokes.pop());
      },
      redo() {
        if (undone.length) strokes.push(undone.pop());
      },
      clear() {
        strokes = [];
        undone = [];
      },
      circles: () => strokes.flat(),
      /* The circles in the pixels of a network's input. */
      of({ crop, input }) {
        const across = input[1] / (crop[2] - crop[0]);
        const down = input[0] / (crop[3] - crop[1]);
        return strokes.flat().map((each) => ({
          x: (each.x - crop[0]) * across,
          y: (each.y - crop[1]) * down,
          radius: (each.radius * (across + down)) / 2,
        }));
      },
    };
  }

  explorer.brush = brush;
})(window.Explorer);
