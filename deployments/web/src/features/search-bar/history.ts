// Queries that were run, newest first, kept in this browser.
const STORAGE = 'ess-history'
const MAX_QUERIES = 50

export function readHistory(): string[] {
  try {
    const kept: unknown = JSON.parse(localStorage.getItem(STORAGE) ?? '[]')
    return Array.isArray(kept) ? kept.filter((query) => typeof query === 'string') : []
  } catch {
    return [] // storage is switched off, or holds something else
  }
}

export function addToHistory(query: string): void {
  const text = query.trim()
  if (text === '') return
  const kept = [text, ...readHistory().filter((other) => other !== text)].slice(0, MAX_QUERIES)
  try {
    localStorage.setItem(STORAGE, JSON.stringify(kept))
  } catch {
    // there is then no history
  }
}

export function clearHistory(): void {
  try {
    localStorage.removeItem(STORAGE)
  } catch {
    // see above
  }
}
