// Text of strangers: never markup, never in command of the page. Its writing direction ends where it ends.
import { memo } from 'react'

import type { Span } from '../query/matches'
import { pieces } from '../query/pieces'
import styles from './Text.module.css'

export const Text = memo(function Text({ text, spans }: { text: string; spans?: readonly Span[] }) {
  return (
    <bdi>
      {pieces(text, spans).map((piece, at) => {
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
