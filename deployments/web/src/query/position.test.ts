import { expect, it } from 'vitest'

import { toUtf16 } from './position'

it.each([
  ['abc', 2, 2],
  ['💥💥x', 2, 4],
  ['ü(', 1, 1],
  ['a', 9, 1],
])('character %s %i is unit %i', (text, position, unit) => {
  expect(toUtf16(text, position)).toBe(unit)
})
