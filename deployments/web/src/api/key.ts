// The API key. It lies in sessionStorage, so that it ends with the tab, or where its owner wants it so in localStorage,
// until it is forgotten; it goes into one header, and never into an address, a log or a link.
import { useSyncExternalStore } from 'react'

const STORAGE = 'ess-key'

export interface KeyState {
  key: string | null
  /** It stays in this browser when the tab is closed. */
  stays: boolean
  /** A request was answered 401: a key, or another one, is to be asked for. */
  wanted: boolean
}

let state: KeyState = stored()
const listeners = new Set<() => void>()

/** Storage may be switched off: a key then lives as long as the page. */
function within<T>(reach: () => T): T | null {
  try {
    return reach()
  } catch {
    return null
  }
}

/** The tab's own key comes before the one that stays. */
function stored(): KeyState {
  const ofTab = within(() => sessionStorage.getItem(STORAGE))
  const stays = within(() => localStorage.getItem(STORAGE))
  return { key: ofTab ?? stays, stays: ofTab === null && stays !== null, wanted: false }
}

function set(next: KeyState): void {
  state = next
  listeners.forEach((listener) => listener())
}

export function currentKey(): string | null {
  return state.key
}

/** Keep a key: for this tab, or, where it `stays`, in this browser. null forgets it in both. */
export function setKey(key: string | null, stays = false): void {
  within(() => sessionStorage.removeItem(STORAGE))
  within(() => localStorage.removeItem(STORAGE))
  if (key !== null) within(() => (stays ? localStorage : sessionStorage).setItem(STORAGE, key))
  set({ key, stays: key !== null && stays, wanted: false })
}

/** Read again what is kept, as a page does that has just been opened. */
export function readKeyAgain(): void {
  set(stored())
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
