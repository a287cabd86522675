// The address bar as a store: where the page is, and how to go elsewhere.
import { useSyncExternalStore } from 'react'

export interface Address {
  path: string
  /** With its question mark, or empty. */
  search: string
}

let current: Address = read()
const listeners = new Set<() => void>()

function read(): Address {
  return { path: window.location.pathname, search: window.location.search }
}

function changed(): void {
  current = read()
  listeners.forEach((listener) => listener())
}

function listen(listener: () => void): () => void {
  if (listeners.size === 0) window.addEventListener('popstate', changed)
  listeners.add(listener)
  return () => {
    listeners.delete(listener)
    if (listeners.size === 0) window.removeEventListener('popstate', changed)
  }
}

/** Go to `href` without loading the page anew. `replace`: the way back skips where we are. */
export function navigate(href: string, { replace = false } = {}): void {
  const here = window.location.pathname + window.location.search
  if (replace || href === here) window.history.replaceState(null, '', href)
  else window.history.pushState(null, '', href)
  changed()
}

export function currentAddress(): Address {
  return read()
}

export function useAddress(): Address {
  return useSyncExternalStore(listen, () => current)
}
