/* The login page: gives the key to the API, which answers with a cookie. */
"use strict";
addEventListener("DOMContentLoaded", () => {
  const form = document.getElementById("login");
  const field = document.getElementById("key");
  const error = document.getElementById("key-error");
  const button = form.querySelector("button[type=submit]");

  const fail = (text) => {
    error.textContent = text;
    error.hidden = false;
    field.setAttribute("aria-invalid", "true");
    field.focus();
  };
  // Only an address of this server: a link must not lead a fresh session somewhere else.
  const destination = () => {
    const next = new URLSearchParams(location.search).get("next") ?? "/";
    try {
      const url = new URL(next, location.origin);
      return url.origin === location.origin && url.pathname !== "/login" ? url.pathname + url.search : "/";
    } catch {
      return "/";
    }
  };
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const key = field.value.trim();
    if (!key) return fail("Enter a key. It starts with sk_.");
    button.disabled = true;
    try {
      const response = await fetch("/api/session", {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ key }),
      });
      if (response.ok) return location.assign(destination());
      const problem = await response.json().catch(() => ({}));
      fail([problem.detail ?? `The server answered ${response.status}.`, problem.fix].filter(Boolean).join(" "));
    } catch {
      fail("The server is not reachable. Try again in a moment.");
    } finally {
      button.disabled = false;
    }
  });
});
