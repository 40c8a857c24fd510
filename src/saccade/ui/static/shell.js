/* What every page needs in the browser: theme, times, banner for a lost connection, copy, log out. */
"use strict";
(() => {
  const THEME_KEY = "saccade-theme";
  const CHOICES = [
    ["light", "light_mode", "Light theme"],
    ["dark", "dark_mode", "Dark theme"],
    ["auto", "brightness_auto", "Theme of the device"],
  ];
  const root = document.documentElement;
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");

  // Storage can be forbidden; then the choice lasts as long as the page.
  let choiceHere = "auto";
  const readChoice = () => {
    try {
      const stored = localStorage.getItem(THEME_KEY) ?? choiceHere;
      return CHOICES.some(([name]) => name === stored) ? stored : "auto";
    } catch {
      return choiceHere;
    }
  };
  const applyTheme = () => {
    const choice = readChoice();
    const dark = choice === "dark" || (choice === "auto" && prefersDark.matches);
    root.dataset.theme = dark ? "dark" : "light";
    window.Quasar?.Dark.set(dark);
    document.querySelectorAll("saccade-theme").forEach((element) => element.refresh?.());
  };
  const choose = (choice) => {
    choiceHere = choice;
    try {
      localStorage.setItem(THEME_KEY, choice);
    } catch {
      /* see readChoice */
    }
    applyTheme();
  };
  applyTheme();
  prefersDark.addEventListener("change", applyTheme);
  addEventListener("storage", (event) => event.key === THEME_KEY && applyTheme());
  // Quasar is there only now, and NiceGUI has just set it to follow the device.
  addEventListener("DOMContentLoaded", applyTheme);

  class ThemeSwitch extends HTMLElement {
    connectedCallback() {
      this.setAttribute("role", "group");
      this.setAttribute("aria-label", "Theme");
      this.replaceChildren(
        ...CHOICES.map(([choice, symbol, name]) => {
          const button = document.createElement("button");
          button.type = "button";
          button.className = "icon-button";
          button.title = name;
          button.dataset.choice = choice;
          button.setAttribute("aria-label", name);
          button.innerHTML = `<span class="icon material-icons" aria-hidden="true">${symbol}</span>`;
          button.addEventListener("click", () => choose(choice));
          return button;
        }),
      );
      this.refresh();
    }
    refresh() {
      const choice = readChoice();
      for (const button of this.children)
        button.setAttribute("aria-pressed", String(button.dataset.choice === choice));
    }
  }
  customElements.define("saccade-theme", ThemeSwitch);

  // Points in time come as seconds since 1970 and are shown in the time zone of who looks.
  const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
  const dayAndClock = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
  const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });
  class Moment extends HTMLElement {
    static observedAttributes = ["wall"];
    attributeChangedCallback() {
      this.show();
    }
    connectedCallback() {
      this.show();
    }
    show() {
      const wall = this.getAttribute("wall");
      if (wall === null) {
        this.textContent = "—";
        this.removeAttribute("title");
        return;
      }
      const date = new Date(Number(wall) * 1000);
      const isToday = date.toDateString() === new Date().toDateString();
      this.textContent = (isToday ? clock : dayAndClock).format(date);
      this.title = full.format(date);
    }
  }
  customElements.define("saccade-time", Moment);

  // NiceGUI shows #popup while its connection is down; our banner says the same, and since when.
  const watchConnection = () => {
    const popup = document.getElementById("popup");
    if (!popup) return;
    const banner = document.createElement("div");
    banner.className = "banner banner-offline";
    banner.setAttribute("role", "alert");
    banner.hidden = true;
    document.body.prepend(banner);
    new MutationObserver(() => {
      const offline = popup.getAttribute("aria-hidden") === "false";
      if (offline === !banner.hidden) return;
      banner.hidden = !offline;
      root.toggleAttribute("data-offline", offline);
      banner.innerHTML = "";
      if (!offline) return;
      const symbol = document.createElement("span");
      symbol.className = "icon material-icons";
      symbol.setAttribute("aria-hidden", "true");
      symbol.textContent = "cloud_off";
      const words = document.createElement("p");
      words.textContent = `Server not reachable since ${clock.format(new Date())}. What is shown is older than that. Trying again.`;
      banner.append(symbol, words);
    }).observe(popup, { attributes: true, attributeFilter: ["aria-hidden"] });
  };
  addEventListener("DOMContentLoaded", watchConnection);

  const copy = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // Without https the clipboard API is missing; the old way still works.
      const area = document.createElement("textarea");
      area.value = text;
      area.className = "sr-only";
      document.body.append(area);
      area.select();
      const copied = document.execCommand("copy");
      area.remove();
      return copied;
    }
  };
  const actions = {
    async copy(button) {
      const copied = await copy(document.getElementById(button.dataset.target)?.textContent ?? "");
      const status = document.getElementById(button.dataset.status);
      if (status) status.textContent = copied ? "Copied." : "Could not copy; select the text instead.";
      if (status) setTimeout(() => (status.textContent = ""), 4000);
      button.focus();
    },
    async logout() {
      // Also when the server does not answer: the login page then says so.
      await fetch("/api/session", { method: "DELETE" }).catch(() => null);
      location.assign("/login");
    },
  };
  addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-action]");
    if (button) actions[button.dataset.action]?.(button);
  });
})();
