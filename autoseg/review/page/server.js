// What the page asks of its server. A request that fails says why, in the server's own words.

export class ServerError extends Error {
  constructor(message, gone = false) {
    super(message);
    this.gone = gone;
  }
}

const GONE =
  "The server does not answer. Nothing that was stored is lost. Start the review again with the same command, open " +
  "the address that it prints, and go on there.";

async function request(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { credentials: "same-origin", ...options });
  } catch {
    throw new ServerError(GONE, true);
  }
  if (answer.ok) return answer;
  if (answer.status === 403 || answer.status === 503) throw new ServerError(GONE, true);
  const told = await answer.json().catch(() => ({ error: `The server answered ${answer.status}.` }));
  throw new ServerError(told.error);
}

const json = (body) => ({ method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

// A name on the first line, then a byte for each voxel.
const drawn = (values, reviewer) => ({
  method: "POST",
  headers: { "Content-Type": "application/octet-stream" },
  body: new Blob([`${JSON.stringify(reviewer)}\n`, values]),
});

export const review = async () => (await request("/api/review")).json();
export const alive = async () => (await request("/api/alive")).json();
export const finish = async () => (await request("/api/finish", json({}))).json();
export const details = async (index) => (await request(`/api/cases/${index}`)).json();
export const bytes = async (index, what) => (await request(`/api/cases/${index}/${what}.nii`)).arrayBuffer();
export const decide = async (index, action, reviewer, comment = null) =>
  (await request(`/api/cases/${index}/decision`, json({ action, reviewer, comment }))).json();
export const save = async (index, values, reviewer) =>
  (await request(`/api/cases/${index}/save`, drawn(values, reviewer))).json();
export const draft = async (index, values, reviewer) =>
  (await request(`/api/cases/${index}/draft`, drawn(values, reviewer))).json();
