// Vercel's AI SDK with its default for openai(), which is responses: text, a stream, a tool, and an object of a schema.
import { createOpenAI } from "@ai-sdk/openai";
import { generateText, Output, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const [url, key] = process.argv.slice(2);
const openai = createOpenAI({ baseURL: `${url}/v1`, apiKey: key });
const found = {};
for (const [name, model] of Object.entries({ responses: openai("clerk"), chat: openai.chat("clerk") })) {
  const whole = await generateText({ model, prompt: "apple" });
  let streamed = "";
  for await (const piece of streamText({ model, prompt: "apple" }).textStream) streamed += piece;
  const weather = tool({
    description: "The weather of a city",
    inputSchema: z.object({ city: z.string() }),
    execute: async ({ city }) => `fine in ${city}`,
  });
  const called = await generateText({ model, prompt: "apple", tools: { weather }, stopWhen: stepCountIs(3) });
  const typed = await generateText({
    model,
    prompt: "apple",
    output: Output.object({ schema: z.object({ name: z.string(), people: z.number().int() }) }),
  });
  found[name] = [whole.text, streamed, called.text, typed.output];
}
console.log(JSON.stringify(found));
