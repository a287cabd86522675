// Reading JSON without losing digits: the server's numbers may have more than this language's have.

/** Whether a text can hold a number that would be rounded: up to fifteen digits are exact. */
const MANY_DIGITS = /\d{16}/
const STRINGS_AND_NUMBERS = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g
const INTEGER = /^-?\d+$/

/** Parse JSON; an integer that would be rounded comes as its text instead. */
export function parseExact(text: string): unknown {
  return JSON.parse(MANY_DIGITS.test(text) ? text.replace(STRINGS_AND_NUMBERS, quotedIfRounded) : text)
}

function quotedIfRounded(token: string): string {
  return INTEGER.test(token) && !Number.isSafeInteger(Number(token)) ? `"${token}"` : token
}
