import styles from './PipeTable.module.css'

const WIDTH = 4
const HEIGHT = 16

/** A small chart of counts, from nothing to the largest of them. */
export function Bars({ values }: { values: readonly number[] }) {
  const most = Math.max(1, ...values)
  return (
    <svg
      className={styles.bars}
      width={values.length * WIDTH}
      height={HEIGHT}
      role="img"
      aria-label={`Over time: ${values.join(', ')}`}
    >
      {values.map((value, at) => {
        const height = value === 0 ? 0 : Math.max(1, (value / most) * HEIGHT)
        return <rect key={at} x={at * WIDTH} y={HEIGHT - height} width={WIDTH - 1} height={height} />
      })}
    </svg>
  )
}
