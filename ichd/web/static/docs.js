// The description of the API, to read and to try as whoever is logged in.
const token = document.querySelector('meta[name="form-token"]')?.content;

// Swagger UI has colours for the night, and asks for them by a class alone.
const night = window.matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", night.matches);
night.addEventListener("change", follow);
follow();

window.SwaggerUIBundle({
  url: "/api/openapi.json",
  dom_id: "#api",
  // Otherwise it asks another host whether the description is valid.
  validatorUrl: null,
  defaultModelsExpandDepth: 0,
  requestInterceptor(request) {
    if (token) request.headers["X-Form-Token"] = token;
    return request;
  },
});
