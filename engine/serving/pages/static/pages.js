"use strict";

// After a form was answered, a reader's keyboard and screen reader go on at the answer, not at the top of the page.
const answered = document.querySelector("[data-focus]");
if (answered && !location.hash) {
  answered.focus({ preventScroll: true });
  answered.scrollIntoView({ block: "nearest" });
}

// A second click while the server works would only send the same again.
for (const form of document.forms) {
  form.addEventListener("submit", () => setTimeout(() => {
    for (const button of form.querySelectorAll("button")) button.disabled = true;
  }));
}
window.addEventListener("pageshow", () => {
  for (const button of document.querySelectorAll("button:disabled")) button.disabled = false;
});
