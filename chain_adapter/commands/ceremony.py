"""The script of a key ceremony, printed by `keys ceremony` and followed line by line."""

from __future__ import annotations

from typing import Final

SCRIPT: Final = """\
KEY CEREMONY                                              date ____________  page 1

Present: first custodian ____________________   second custodian ____________________
         witness ____________________

The machine has no network: no cable, no radio. It was started from a medium whose hash was
compared by both custodians. Nobody photographs, nobody speaks the words aloud.

 1. First custodian: throw a die at least 100 times and write the throws into a file, digits only.
       dice file: ____________________                                        [ ] done
 2. First custodian: write a passphrase of at least eight random words into
       {passphrase_file}
    mode 0600. A copy goes into envelope P1.                                   [ ] done
 3. Both: make the seed. The die is mixed with the machine's own randomness; neither decides alone.
       chain-adapter keys init --config {config} --entropy-file DICE
    Chains: {chains}                                                           [ ] done
 4. First custodian: write the 24 words, as they are shown this once, on card A. The program asks
    for some of them back.                                                     [ ] done
 5. Second custodian: copy card A to card B. The first custodian covers card A; the second reads
    card B back, by typing it into a file MNEMONIC on this machine, and runs
       chain-adapter keys backup BACKUP --config {config}
       chain-adapter keys restore-check BACKUP --config {config} --mnemonic-file MNEMONIC
    Every line must say ok.                                                    [ ] done
 6. Both: compare the addresses with those that init has printed, character by character.
       chain-adapter keys addresses --config {config} --count 3
       hot address: ________________________________________________          [ ] same
 7. Erase MNEMONIC and the dice file (the machine's medium is destroyed at the end).   [ ] done
 8. Card A into envelope A, card B into envelope B, the passphrase in P1; each sealed, signed
    across the seal by both custodians, and kept at three different places.
       envelope A no. __________  envelope B no. __________  envelope P1 no. __________
 9. The keystore {keystore}
    and the folder BACKUP go to the signer's machine on a medium that is destroyed afterwards.
    The signer's journal, {journal},
    is kept on another disk than the database, and is in every backup.        [ ] done
10. Policy: the operators' public keys (id_….pub of their hardware keys) are read aloud and compared
    with the policy file.                                                      [ ] done

Signatures: ____________________   ____________________   ____________________
"""
