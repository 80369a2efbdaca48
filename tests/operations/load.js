// Callers of every kind, as k6 plays them: some ask wrongly, some are too impatient to be served.
import { check, sleep } from "k6";
import encoding from "k6/encoding";
import http from "k6/http";

const base = `${__ENV.GATEWAY}/v1`;
const pictures = JSON.parse(open(`${__ENV.MEDIA}/pictures.json`)); // base64
const recording = open(`${__ENV.MEDIA}/recording.wav`, "b");
const json = { "Content-Type": "application/json" };
const AWAY = 503; // what a service that is down is answered for
const CUT_OFF = 0; // a sound whose deadline passed in the middle of it

export const options = {
  scenarios: {
    callers: { executor: "constant-vus", exec: "call", vus: 4, duration: "5m" },
    impatient: { executor: "constant-vus", exec: "hurry", vus: 1, startTime: "4s", duration: "10s" },
  },
};

export function setup() {
  const file = { file: http.file("The tale of a fox and a well.\n", "tale.txt"), purpose: "assistants" };
  const id = http.post(`${base}/files`, file).json("id");
  const store = { file_ids: [id] };
  return { store: http.post(`${base}/vector_stores`, JSON.stringify(store), { headers: json }).json("id") };
}

const post = (path, body, headers) => http.post(`${base}${path}`, JSON.stringify(body), { headers: { ...json, ...headers } });
const picture = () => pictures[Math.floor(Math.random() * pictures.length)];
const image = () => ({ type: "image_url", image_url: { url: `data:image/png;base64,${picture()}` } });
const sound = () => ({ type: "input_audio", input_audio: { data: encoding.b64encode(recording), format: "wav" } });
const user = (...content) => ({ messages: [{ role: "user", content }] });
const text = (words) => ({ type: "text", text: words });

const calls = {
  compose: ({ store }) =>
    post("/chat/completions", {
      ...user(image(), text("What is told of the fox?")),
      tools: [{ type: "file_search", vector_store_ids: [store] }],
    }),
  listen: () => post("/chat/completions", user(sound(), text("What is said?"))),
  read: () => http.post(`${base}/vision/read`, encoding.b64decode(picture()), { headers: { "Content-Type": "image/png" } }),
  transcribe: () => http.post(`${base}/audio/transcriptions`, { file: http.file(recording, "a.wav"), model: "whisper-1" }),
  speak: () => post("/audio/speech", { model: "tts-1", voice: "default", input: "Good morning." }),
  embed: () => post("/embeddings", { input: ["a fox", "a well"] }),
  search: ({ store }) => post(`/vector_stores/${store}/search`, { query: "fox" }),
  models: () => http.get(`${base}/models`),
};
const wrong = {
  nothing_said: () => post("/chat/completions", { messages: [] }),
  no_such_file: () => http.get(`${base}/files/file-none`),
};

export function call(data) {
  for (const [name, ask] of Object.entries(calls)) {
    check(ask(data), { [name]: (answer) => [200, AWAY].includes(answer.status) });
    sleep(0.05);
  }
  for (const [name, ask] of Object.entries(wrong)) {
    check(ask(data), { [name]: (answer) => [400, 404].includes(answer.status) });
  }
}

// All at once, with deadlines shorter than the fakes take: what is refused at once is demand, too.
export function hurry() {
  const soon = { timeout: "5s", headers: { ...json, "x-polyphony-timeout": "0.6" } };
  const read = { headers: { "Content-Type": "image/png", "x-polyphony-timeout": "0.6" } };
  const chat = JSON.stringify(user(text("word ".repeat(200))));
  const speech = JSON.stringify({ model: "tts-1", voice: "default", input: "Good morning. ".repeat(20) });
  const asked = Array(6).fill([
    ["POST", `${base}/chat/completions`, chat, soon],
    ["POST", `${base}/vision/read`, encoding.b64decode(picture()), read],
    ["POST", `${base}/audio/speech`, speech, soon],
    ["POST", `${base}/embeddings`, JSON.stringify({ input: "a fox" }), soon],
  ]);
  for (const answer of http.batch(asked.flat())) {
    check(answer, { hurry: () => [200, 429, AWAY, 504, CUT_OFF].includes(answer.status) });
  }
  sleep(1);
}
