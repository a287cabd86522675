import { useState } from 'react'

import { NARROW, useMedia } from '../../ui/media'

const STORAGE = 'ess-fields'

/** Whether the panel is open: as a person left it in this browser; on a narrow screen, where it covers the rows, closed. */
export function useFieldsOpen(): [boolean, (open: boolean) => void] {
  const isNarrow = useMedia(NARROW)
  const [wide, setWide] = useState(stored)
  const [narrow, setNarrow] = useState(false)
  const set = (open: boolean) => {
    if (isNarrow) {
      setNarrow(open)
      return
    }
    setWide(open)
    try {
      localStorage.setItem(STORAGE, open ? 'open' : 'closed')
    } catch {
      // it then holds for this page
    }
  }
  return [isNarrow ? narrow : wide, set]
}

function stored(): boolean {
  try {
    return localStorage.getItem(STORAGE) !== 'closed'
  } catch {
    return true // storage is switched off
  }
}
