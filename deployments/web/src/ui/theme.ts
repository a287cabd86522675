// Light or dark: as the system says, unless a person has chosen. Kept in this browser.
import { useState } from 'react'

export type Theme = 'auto' | 'light' | 'dark'

const STORAGE = 'ess-theme'
const NEXT: Record<Theme, Theme> = { auto: 'light', light: 'dark', dark: 'auto' }

function stored(): Theme {
  try {
    const theme = localStorage.getItem(STORAGE)
    return theme === 'light' || theme === 'dark' ? theme : 'auto'
  } catch {
    return 'auto' // storage is switched off
  }
}

export function applyTheme(theme: Theme = stored()): void {
  if (theme === 'auto') delete document.documentElement.dataset.theme
  else document.documentElement.dataset.theme = theme
}

/** The theme, and a way to the next of the three. */
export function useTheme(): [Theme, () => void] {
  const [theme, setTheme] = useState(stored)
  const next = () => {
    const chosen = NEXT[theme]
    setTheme(chosen)
    applyTheme(chosen)
    try {
      localStorage.setItem(STORAGE, chosen)
    } catch {
      // it then holds for this page
    }
    window.dispatchEvent(new Event(THEME_CHANGED)) // for what is drawn on a canvas
  }
  return [theme, next]
}

export const THEME_CHANGED = 'ess-theme-changed'
