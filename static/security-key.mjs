// Security keys: asks the browser for one, and sends its answer with the form. Without script the other factors remain.
for (const form of document.querySelectorAll("form[data-security-key]")) {
  const able = window.PublicKeyCredential?.parseCreationOptionsFromJSON && window.isSecureContext;
  form.hidden = !able;
  const problem = form.querySelector("[data-problem]");
  form.addEventListener("submit", async (event) => {
    if (form.elements.credential.value) return;
    event.preventDefault();
    problem.textContent = "";
    try {
      const options = JSON.parse(form.dataset.options);
      const credential =
        form.dataset.securityKey === "create"
          ? await navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options) })
          : await navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options) });
      form.elements.credential.value = JSON.stringify(credential.toJSON());
      form.submit();
    } catch (error) {
      problem.textContent =
        error.name === "InvalidStateError"
          ? "That key is set up already."
          : "The key did not answer. Try again, or use another way.";
    }
  });
}
