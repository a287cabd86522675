import { useSyncExternalStore } from 'react'

/** Below: a panel beside the rows would leave them too little room. */
export const NARROW = '(max-width: 56rem)'

/** Whether a media query holds now. */
export function useMedia(query: string): boolean {
  return useSyncExternalStore(
    (listener) => {
      const list = window.matchMedia(query)
      list.addEventListener('change', listener)
      return () => list.removeEventListener('change', listener)
    },
    () => window.matchMedia(query).matches,
  )
}
