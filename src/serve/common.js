"use strict";
// The page of `ddpm serve`: what its parts share. Texts of users and of the server enter it as text nodes only.

const byId = (id) => document.getElementById(id);
const isFinal = (job) => job.state === "done" || job.state === "failed" || job.state === "cancelled";
let network = null; // GET /v1/model
let current = null; // the jobs that Cancel cancels

function say(message) {
  byId("problem").textContent = message;
  byId("problem").hidden = message === "";
}

const shown = (work) => work().catch((error) => say(error.message));

async function answerOf(path, options = {}) {
  try {
    return await fetch(path, options);
  } catch {
    throw new Error("The server does not answer; was ddpm serve stopped?");
  }
}

// The JSON of an answer. Throws an Error with the server's message.
async function ask(path, options) {
  const answer = await answerOf(path, options);
  const json = await answer.json().catch(() => ({ error: "the answer is no JSON" }));
  if (answer.status === 401) byId("login").hidden = false;
  if (!answer.ok) throw new Error(json.error);
  return json;
}

const send = (path, json) => ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(json) });

// A picture of the server.
async function fetchBlob(url) {
  const answer = await answerOf(url);
  if (!answer.ok) throw new Error("The picture is no longer there; the server keeps the last ones only.");
  return answer.blob();
}
