// Holds a long conversation with the AI SDK: a tool call in every turn, streamed every second one.
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

async function reply(streamed) {
  const given = {
    model, messages, toolChoice: "required", stopSequences: ["</tool_call>"], tools: { look }, maxRetries: 0,
    system: "You are a patient guide to the harbour.",
  };
  const made = streamed ? streamText({ ...given, onError: ({ error }) => { throw error; } })
    : await generateText(given);
  if (streamed) {
    for await (const _ of made.fullStream);
  }
  const usage = await made.usage;
  largest = Math.max(largest, usage.inputTokens);
  calls += (await made.toolResults).length;
  messages.push(...(await made.response).messages);
}

for (let turn = 0; turn < Number(turns); turn++) {
  messages.push({ role: "user", content: `Tell me about ship ${turn} and who sails on it.` });
  await reply(turn % 2 === 1);
}
console.log(JSON.stringify({ largest, calls }));
