// The page's data: the JSON block, and its packed arrays (docs/formats/page.md).
const problems = [];
window.addEventListener("error", e => report(e.message));
window.addEventListener("unhandledrejection", e => report(String(e.reason)));
document.addEventListener("securitypolicyviolation", e => report("blocked " + e.blockedURI));
function report(problem) {
  problems.push(problem);
  document.documentElement.dataset.problems = problems.join(" | ");
}

const page = JSON.parse(document.getElementById("page-data").textContent);
