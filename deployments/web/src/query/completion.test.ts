import { CompletionContext, type CompletionResult } from '@codemirror/autocomplete'
import { EditorState } from '@codemirror/state'
import { expect, it } from 'vitest'

import { completionSource, type Lookup } from './completion'

const asked: [string, string][] = []
const LOOKUP: Lookup = {
  history: () => [],
  fields: () =>
    Promise.resolve([
      { name: 'user-agent', kind: 'attribute', count: 9 },
      { name: 'user agent', kind: 'attribute', count: 8 },
      { name: '@version', kind: 'attribute', count: 7 },
      { name: 'level', kind: 'attribute', count: 6 },
      { name: 'offset', kind: 'attribute', count: 5 },
    ]),
  values: (field, prefix) => {
    asked.push([field, prefix])
    return Promise.resolve([{ value: 'curl 8', count: 3 }])
  },
}

async function complete(text: string): Promise<CompletionResult | null> {
  const state = EditorState.create({ doc: text })
  return completionSource(LOOKUP)(new CompletionContext(state, text.length, false))
}

it.each(['us', '@', 'x user-a', '"user a', '-user'])(
  'names are offered as the language wants them, at %s',
  async (text) => {
    const labels = (await complete(text))?.options.map(({ label }) => label)
    expect(labels).toEqual(expect.arrayContaining(['user-agent:', '"user agent":', '@version:', 'attributes.level:']))
    expect(labels).toEqual(expect.arrayContaining(['offset:', '_ess.offset:']))
  },
)

it.each<[string, [string, string]]>([
  ['user-agent:cu', ['user-agent', 'cu']],
  ['@version:', ['@version', '']],
  ['offset:', ['offset', '']], // a client's
  ['"user agent":', ['user agent', '']],
  ['"user agent":"cu', ['user agent', 'cu']],
])('values are asked for by the name itself, at %s', async (text, expected) => {
  const found = await complete(text)
  expect(asked.at(-1)).toEqual(expected)
  expect(found?.options[0]?.apply).toBe('"curl 8"')
})

it.each<[string, string]>([
  ['x | st', 'stats'],
  ['x | stats count() by us', 'user-agent'],
  ['x | stats p95(', '"user agent"'],
  ['x | stats count() as n | sort by ', 'n'],
])('stages are completed, at %s', async (text, expected) => {
  expect((await complete(text))?.options.map(({ label }) => label)).toContain(expected)
})
