"use strict";
// Without scripts the page is complete: each film has controls of its own, and tables are open.
if (window.matchMedia("(max-width: 60rem)").matches) {
  for (const table of document.querySelectorAll("details.beside")) table.open = false;
}
for (const item of document.querySelectorAll(".films > li")) {
  const button = item.querySelector(".both");
  const films = item.querySelectorAll("video");
  button.hidden = false;
  button.addEventListener("click", () => {
    for (const film of films) {
      film.currentTime = 0;
      film.play().catch(() => undefined);
    }
  });
}
