/* The camera wall: one WebSocket of JPEG tiles for all canvases; only what is seen is watched. */
"use strict";
(() => {
  const OLD_AFTER_MS = 2000; // a picture older than this says its age
  const DIM_AFTER_MS = 10000; // and from here on it is shown dimmed
  const CLOSE_AFTER_MS = 10000; // nothing watched for so long: give the connection back
  const RETRY_MS = [500, 8000]; // first and longest wait between two tries to connect

  const ageText = (ms) => {
    const seconds = Math.floor(ms / 1000);
    return seconds < 60 ? `${seconds} s old` : seconds < 3600 ? `${Math.floor(seconds / 60)} min old` : `${Math.floor(seconds / 3600)} h old`;
  };

  const wall = {
    tiles: new Set(),
    seen: new Set(),
    socket: null,
    sent: "",
    retryMs: RETRY_MS[0],
    retryTimer: 0,
    planTimer: 0,
    closeTimer: 0,

    add(tile) {
      this.tiles.add(tile);
      this.watcher.observe(tile);
      this.plan();
    },
    remove(tile) {
      this.watcher.unobserve(tile);
      this.tiles.delete(tile);
      this.seen.delete(tile);
      this.plan();
    },
    watcher: new IntersectionObserver(
      (entries) => {
        for (const entry of entries) wall.seen[entry.isIntersecting ? "add" : "delete"](entry.target);
        wall.plan();
      },
      { rootMargin: "80px" },
    ),

    watching() {
      if (document.hidden) return [];
      const seen = [...this.seen].filter((tile) => tile.cameraId);
      // A full-screen picture covers the wall: the tiles below it are not seen.
      const full = seen.filter((tile) => tile.watchSize === "full");
      return full.length ? full : seen;
    },
    wanted() {
      const watch = new Map(this.watching().map((tile) => [tile.cameraId, tile.watchSize]));
      return [...watch].sort().map(([camera, size]) => ({ camera, size }));
    },
    // Many tiles change at once (load, scroll): one message for all of them.
    plan() {
      clearTimeout(this.planTimer);
      this.planTimer = setTimeout(() => this.apply(), 40);
    },
    apply() {
      const watch = this.wanted();
      if (watch.length) {
        clearTimeout(this.closeTimer);
        this.closeTimer = 0;
        if (!this.socket && !this.retryTimer) return this.connect();
      } else if (this.socket && !this.closeTimer) {
        this.closeTimer = setTimeout(() => this.socket?.close(1000), CLOSE_AFTER_MS);
      }
      const message = JSON.stringify({ watch });
      if (this.socket?.readyState === WebSocket.OPEN && message !== this.sent) {
        this.socket.send(message);
        this.sent = message;
      }
    },
    connect() {
      const scheme = location.protocol === "https:" ? "wss" : "ws";
      const socket = new WebSocket(`${scheme}://${location.host}/ws/tiles`);
      this.socket = socket;
      this.sent = "";
      socket.binaryType = "arraybuffer";
      socket.onopen = () => this.apply();
      socket.onmessage = (message) => {
        // Back-off starts again only after a picture: a door that accepts and closes is not well.
        this.retryMs = RETRY_MS[0];
        if (message.data instanceof ArrayBuffer) this.receive(message.data);
      };
      socket.onclose = () => {
        this.socket = null;
        clearTimeout(this.closeTimer);
        this.closeTimer = 0;
        this.tick();
        if (!this.wanted().length) return;
        this.retryTimer = setTimeout(() => {
          this.retryTimer = 0;
          this.apply();
        }, this.retryMs * (0.75 + Math.random() / 2));
        this.retryMs = Math.min(this.retryMs * 2, RETRY_MS[1]);
      };
    },
    // 4 bytes header length (big-endian), JSON header, JPEG.
    receive(data) {
      const length = new DataView(data).getUint32(0);
      const header = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
      const picture = new Blob([new Uint8Array(data, 4 + length)], { type: "image/jpeg" });
      for (const tile of this.watching()) if (tile.cameraId === header.camera) tile.offer(picture, header);
    },
    tick() {
      const connected = this.socket?.readyState === WebSocket.OPEN;
      for (const tile of this.tiles) tile.showAge(connected);
    },
  };

  class Tile extends HTMLElement {
    static observedAttributes = ["camera", "size", "name"];
    connectedCallback() {
      if (!this.canvas) {
        this.canvas = document.createElement("canvas");
        this.canvas.width = 640;
        this.canvas.height = 360;
        this.canvas.setAttribute("role", "img");
        this.context = this.canvas.getContext("2d", { alpha: false, desynchronized: true });
        this.note = document.createElement("span");
        this.note.className = "tile-note";
        this.badge = document.createElement("span");
        this.badge.className = "tile-age";
        this.badge.hidden = true;
        this.append(this.canvas, this.note, this.badge);
      }
      this.rename();
      this.showAge(wall.socket?.readyState === WebSocket.OPEN);
      wall.add(this);
    }
    disconnectedCallback() {
      this.next = null;
      wall.remove(this);
    }
    attributeChangedCallback(name, before, now) {
      if (!this.canvas || before === now) return;
      this.rename();
      if (name === "camera") this.forget();
      wall.plan();
    }
    // Not called like the attributes: Vue would then set the property, which cannot be set.
    get cameraId() {
      return this.getAttribute("camera") ?? "";
    }
    get watchSize() {
      return this.getAttribute("size") === "full" ? "full" : "tile";
    }
    rename() {
      this.canvas.setAttribute("aria-label", `Live picture of ${this.getAttribute("name") || this.cameraId}`);
    }
    // Another camera's last picture must never stand under this one's name.
    forget() {
      this.arrivedAt = undefined;
      this.next = null;
      this.context.clearRect(0, 0, this.canvas.width, this.canvas.height);
      this.showAge(true);
    }
    // Latest wins: while one picture is decoded and waits for the screen, only the newest waits behind it.
    offer(picture, header) {
      this.next = { picture, header, camera: header.camera };
      if (!this.busy) this.draw();
    }
    async draw() {
      this.busy = true;
      while (this.next) {
        const { picture, header, camera } = this.next;
        this.next = null;
        try {
          const bitmap = await createImageBitmap(picture);
          await new Promise(requestAnimationFrame);
          if (this.isConnected && camera === this.cameraId) this.paint(bitmap, header);
          bitmap.close();
        } catch {
          // Not a picture: the age badge tells when no good one follows.
          this.dataset.undecoded = String(Number(this.dataset.undecoded ?? 0) + 1);
        }
      }
      this.busy = false;
    }
    paint(bitmap, header) {
      const { canvas } = this;
      if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
        canvas.width = bitmap.width;
        canvas.height = bitmap.height;
      }
      this.context.drawImage(bitmap, 0, 0);
      this.arrivedAt = performance.now();
      this.dataset.seq = header.seq;
      this.showAge(true);
    }
    showAge(connected) {
      const age = this.arrivedAt === undefined ? undefined : performance.now() - this.arrivedAt;
      const note = age !== undefined ? "" : connected ? "Waiting for a picture" : "Not connected";
      const old = age !== undefined && age > OLD_AFTER_MS;
      const text = old ? (connected ? ageText(age) : `Not connected, ${ageText(age)}`) : "";
      if (this.note.textContent !== note) this.note.textContent = note;
      if (this.badge.textContent !== text) this.badge.textContent = text;
      this.badge.hidden = !old;
      this.toggleAttribute("data-old", age !== undefined && age > DIM_AFTER_MS);
    }
  }
  customElements.define("saccade-tile", Tile);

  setInterval(() => wall.tick(), 500);
  document.addEventListener("visibilitychange", () => wall.plan());
})();
