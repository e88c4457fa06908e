// Holds a long conversation with the AI SDK, streamed every second turn, with tools every fourth.
// node chat.mjs BASE_URL TURNS; prints the largest prompt as JSON.

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, jsonSchema, streamText, tool } from "ai";

const [baseURL, turns] = process.argv.slice(2);
const provider = createOpenAICompatible({ name: "tiny", baseURL, apiKey: "k", includeUsage: true });
const model = provider("tiny");
const look = tool({
  description: "Looks at a berth.",
  inputSchema: jsonSchema({
    type: "object",
    properties: { berth: { type: "string", enum: ["north", "south"] } },
    required: ["berth"],
    additionalProperties: false,
  }),
  execute: async ({ berth }) => `A ship lies in the ${berth} berth.`,
});

const messages = [];
let largest = 0;
let calls = 0;

async function reply(toolChoice, maxOutputTokens, streamed) {
  const given = {
    model, messages, toolChoice, maxOutputTokens, tools: { look }, maxRetries: 0,
    system: "You are a patient guide to the harbour.",
  };
  const made = streamed ? streamText({ ...given, onError: ({ error }) => { throw error; } })
    : await generateText(given);
  if (streamed) {
    for await (const _ of made.textStream);
  }
  const usage = await made.usage;
  largest = Math.max(largest, usage.inputTokens);
  messages.push(...(await made.response).messages);
  return made;
}

for (let turn = 0; turn < Number(turns); turn++) {
  messages.push({ role: "user", content: `Tell me about ship ${turn} and who sails on it.` });
  const streamed = turn % 2 === 1;
  if (turn % 4 < 2) {
    calls += (await (await reply("required", 120, streamed)).toolCalls).length;
  }
  if (!(await (await reply("none", 8, streamed)).text)) {
    throw new Error(`turn ${turn} has no answer`);
  }
}
console.log(JSON.stringify({ largest, calls }));
