// A proof ages on the page: a build server that has died must not leave a green badge behind.
(function () {
  "use strict";
  var OLD_AFTER_HOURS = 36;
  var HOUR_MS = 3600 * 1000;

  function describeAge(hours) {
    if (hours < 1) return Math.max(1, Math.round(hours * 60)) + " min ago";
    if (hours < 48) return Math.round(hours) + " h ago";
    return Math.round(hours / 24) + " days ago";
  }

  function age(badge) {
    var then = Date.parse(badge.dataset.when);
    var hours = (Date.now() - then) / HOUR_MS;
    var time = badge.querySelector("time");
    if (!time || isNaN(then)) return;
    if (!time.title) time.title = time.textContent;
    if (hours < -0.1) {
      // This device's clock or the record is wrong: the plain time is all that can be said.
      time.textContent = time.title;
      return;
    }
    time.textContent = describeAge(Math.max(0, hours));
    var isOld = hours > OLD_AFTER_HOURS;
    badge.classList.toggle("proof-old", isOld);
    var word = badge.querySelector("strong");
    if (!word.dataset.fresh) word.dataset.fresh = word.textContent;
    if (badge.dataset.proof === "failed") return;
    word.textContent = isOld ? "Out of date: " + word.dataset.fresh.toLowerCase() : word.dataset.fresh;
  }

  function ageAll() {
    document.querySelectorAll("[data-when]").forEach(age);
  }

  ageAll();
  setInterval(ageAll, 60 * 1000);
})();
