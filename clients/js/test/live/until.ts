/** Waits until something is so. It is an error if that takes longer than anything here should. */
export async function until(condition: () => unknown | Promise<unknown>, ms = 45_000): Promise<void> {
  const end = performance.now() + ms;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`never so: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
