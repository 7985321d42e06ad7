"use strict";
// Without scripts the page is complete but for one button: each film has controls of its own.
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
