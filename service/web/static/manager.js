// Only makes things quicker: a chosen picture is sent at once, and nothing is sent twice.
(function () {
  "use strict";
  var root = document.documentElement;
  root.classList.add("js");

  function busy(form) {
    form.setAttribute("data-sent", "");
    form.setAttribute("aria-busy", "true");
    var notice = document.getElementById("busy");
    if (notice) notice.hidden = false;
  }

  document.addEventListener("submit", function (event) {
    var form = event.target;
    if (form.method !== "post") return;
    if (form.hasAttribute("data-sent")) event.preventDefault();
    else busy(form);
  });

  document.addEventListener("change", function (event) {
    var input = event.target;
    if (input.type !== "file" || !input.files.length) return;
    var form = input.form;
    if (form.hasAttribute("data-sent")) return;
    busy(form);
    form.submit();
  });

  // Come back to by the browser's own button, a page may be used again.
  window.addEventListener("pageshow", function () {
    var forms = document.querySelectorAll("form[data-sent]");
    for (var i = 0; i < forms.length; i++) {
      forms[i].removeAttribute("data-sent");
      forms[i].removeAttribute("aria-busy");
      if (forms[i].enctype === "multipart/form-data") forms[i].reset();
    }
    var notice = document.getElementById("busy");
    if (notice) notice.hidden = true;
  });
})();
