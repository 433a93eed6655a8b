# Of `tanistd --settings`: the head, and the sections that the agent reads.
/^\[/ { wanted = $0 == "[agent]" || $0 == "[log]"; head_ended = 1 }
!head_ended || wanted
