import { expect, it } from 'vitest'

import { pipeAt } from './pipe'

it.each([
  ['level:ERROR | stats count() by service', 12],
  ['| patterns', 0],
  ['a |\n patterns', 2],
  ['"x | stats y" a | top 5', 16],
  ['a | b | limit 5', 6],
])('%j has stages', (query, at) => {
  expect(pipeAt(query)).toBe(at)
})

it.each([
  '',
  'a | b',
  '"a | stats count()"',
  '/a | stats b/',
  'a |stats x',
  'a| stats x',
  'a | statsy',
  'a | Stats x',
  'a |',
])('%j is for rows', (query) => {
  expect(pipeAt(query)).toBeNull()
})
