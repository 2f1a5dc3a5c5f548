-- Passes a notice to all feeds. KEYS: hub. ARGV: where it is pushed, the notice.
push(look_at_hub(KEYS[1]), ARGV[1], ARGV[2])
return { 'told' }
