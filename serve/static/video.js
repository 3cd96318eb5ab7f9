// Frames of a playing video or camera, and how many a second.

import { $ } from "./service.js";

const SIDE = 1280; // pixels of the long side of a frame at most
const WINDOW = 2000; // milliseconds over which frames are counted

/** Frame after frame as JPEG, each handed on when the one before is answered, while `wanted()`.
    `answer` gives false to end it. */
export async function follow(video, wanted, answer) {
  const canvas = document.createElement("canvas");
  const times = [];
  let at = -1;
  while (wanted()) {
    if (!video.videoWidth || (video.paused && at === video.currentTime)) {
      $("rate").textContent = "";
      await new Promise((done) => setTimeout(done, 50));
      continue;
    }
    at = video.currentTime;
    const scale = Math.min(1, SIDE / Math.max(video.videoWidth, video.videoHeight));
    canvas.width = Math.round(video.videoWidth * scale);
    canvas.height = Math.round(video.videoHeight * scale);
    canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
    const frame = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.85));
    if (!wanted() || !(await answer(frame))) break;
    times.push(performance.now());
    while (times[0] < times.at(-1) - WINDOW) times.shift();
    const rate = (1000 * (times.length - 1)) / (times.at(-1) - times[0]);
    if (rate) $("rate").textContent = `${rate.toFixed(1)} frames/s`;
    await new Promise(requestAnimationFrame); // a hidden tab rests
  }
  $("rate").textContent = "";
}
