// JavaScript programs that people use, against a node's API. Usage: clients.mjs BASE KEY
import assert from 'node:assert/strict'
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { generateObject, generateText, jsonSchema, streamText, embedMany } from 'ai'
import OpenAI from 'openai'

const [base, key] = process.argv.slice(2)
const model = 'smollm2-135m-instruct'
const messages = [{ role: 'user', content: 'What is the capital of Finland?' }]

const client = new OpenAI({ baseURL: `${base}/v1`, apiKey: key, maxRetries: 0 })
const whole = await client.chat.completions.create({ model, messages, max_tokens: 20 })
assert.match(whole.choices[0].message.content, /Helsinki/)
let text = ''
for await (const chunk of await client.chat.completions.create({ model, messages, max_tokens: 20, stream: true })) {
  text += chunk.choices[0]?.delta?.content ?? ''
}
assert.equal(text, whole.choices[0].message.content)
const vectors = await client.embeddings.create({ model: 'all-minilm-l6-v2', input: ['one', 'two'] })
assert.equal(vectors.data[1].embedding.length, 384)
await assert.rejects(client.chat.completions.create({ model: 'none', messages }), OpenAI.NotFoundError)
const response = await client.responses.create({ model, input: 'What is the capital of Finland?', max_output_tokens: 20 })
assert.match(response.output_text, /Helsinki/)
console.log('openai-node: ok')

const talkoo = createOpenAICompatible({ name: 'talkoo', baseURL: `${base}/v1`, apiKey: key, supportsStructuredOutputs: true })
const answer = await generateText({ model: talkoo(model), messages, maxOutputTokens: 20 })
assert.match(answer.text, /Helsinki/)
let streamed = ''
for await (const part of streamText({ model: talkoo(model), messages, maxOutputTokens: 20 }).textStream) streamed += part
assert.equal(streamed, answer.text)
const schema = jsonSchema({
  type: 'object', properties: { age: { type: 'integer', minimum: 0, maximum: 120 } }, required: ['age'], additionalProperties: false
})
const person = await generateObject({ model: talkoo(model), schema, prompt: 'A person.', maxOutputTokens: 60 })
assert.equal(typeof person.object.age, 'number')
const made = await embedMany({ model: talkoo.textEmbeddingModel('all-minilm-l6-v2'), values: ['one', 'two'] })
assert.equal(made.embeddings.length, 2)
console.log('ai sdk: ok')
