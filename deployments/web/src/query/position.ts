// The server counts a query's characters as code points, the editor as UTF-16 units.

export function toUtf16(text: string, position: number): number {
  let at = 0
  for (let index = 0; index < position && at < text.length; index += 1) {
    at += (text.codePointAt(at) ?? 0) > 0xffff ? 2 : 1
  }
  return at
}
