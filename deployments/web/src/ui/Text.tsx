// Text of strangers: never markup, never in command of the page. Its writing direction ends where it ends.
import { memo } from 'react'

import type { Span } from '../query/matches'
import { pieces } from '../query/pieces'
import styles from './Text.module.css'

export const Text = memo(function Text({ text, spans }: { text: string; spans?: readonly Span[] }) {
  const cut = pieces(text, spans)
  const [only] = cut
  // Nearly always: one element less in each of many cells.
  if (cut.length === 1 && only && !only.mark && only.code === undefined) return <bdi>{only.text}</bdi>
  return (
    <bdi>
      {cut.map((piece, at) => {
        const shown =
          piece.code === undefined ? (
            piece.text
          ) : (
            <span className={styles.control} title={piece.code}>
              {piece.text}
            </span>
          )
        return piece.mark ? <mark key={at}>{shown}</mark> : <span key={at}>{shown}</span>
      })}
    </bdi>
  )
})
