// The API key of this tab. It lies in sessionStorage, so that it ends with the tab, and goes into one header; never into
// an address, a log or a link.
import { useSyncExternalStore } from 'react'

const STORAGE = 'ess-key'

export interface KeyState {
  key: string | null
  /** A request was answered 401: a key, or another one, is to be asked for. */
  wanted: boolean
}

let state: KeyState = { key: stored(), wanted: false }
const listeners = new Set<() => void>()

function stored(): string | null {
  try {
    return sessionStorage.getItem(STORAGE)
  } catch {
    return null // storage is switched off: the key then lives as long as the page
  }
}

function set(next: KeyState): void {
  state = next
  listeners.forEach((listener) => listener())
}

export function currentKey(): string | null {
  return state.key
}

/** Keep a key for this tab; null forgets it. */
export function setKey(key: string | null): void {
  try {
    if (key === null) sessionStorage.removeItem(STORAGE)
    else sessionStorage.setItem(STORAGE, key)
  } catch {
    // see stored()
  }
  set({ key, wanted: false })
}

/** A request made with `used` was refused. One made before the key was changed says nothing of the new one. */
export function keyRefused(used: string | null): void {
  if (used === state.key && !state.wanted) set({ ...state, wanted: true })
}

export function wantKey(wanted: boolean): void {
  if (state.wanted !== wanted) set({ ...state, wanted })
}

export function useKey(): KeyState {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    () => state,
  )
}
