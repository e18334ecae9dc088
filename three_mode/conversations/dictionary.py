"""Dictionary for deflating rows: what messages have in common. A constant of the file's format: never change it.

Deflate refers back to it as if it stood before each row, so that a short row need not spell out field names and common
words. What is likelier stands later.
"""

# fmt: off
_WORDS = (
    "unfortunately recommend experience application environment development government international organization "
    "particular performance relationship requirements responsible significant specific successful technology community "
    "configuration connection conversation description documentation implementation installation instruction integer "
    "directory exception execute expression implement interface iterator keyword library literal module operation "
    "optional output parameter password process program project property protocol reference request response sequence "
    "server session statement structure template thread variable version attribute argument character command "
    "component container context control create current database device document element encoding equivalent error "
    "everyone exactly except explain feature finally general happen helpful include increase indicate instead involve "
    "language learn likely maybe meaning message minute model modify morning multiple necessary nothing notice often "
    "option original otherwise perhaps possible prefer prevent previous probably provide purpose quickly rather "
    "really reason receive remember remove replace require second section select sentence separate several similar "
    "single something sometimes special standard summary support suggest table title together toward travel usually "
    "various weather whether without wonder "
    "themselves understand information especially everything something yourself interesting department different "
    "important following available including according together however although between without through another "
    "because before should would could please thank answer question example number people result results function "
    "problem system follow default values object return string method class calls called given takes first second "
    "where which while there their these those other about after again being doing every found great house large "
    "later might never order place point right since small still their think three today under until using value "
    "water whole world write years also back been both came come does done down each even file from give good have "
    "here high into just keep kind know last left life like line list long look made make many more most much must "
    "name need next only open over part play read same seen show some such take tell than that them then they this "
    "time turn very want well went were what when will with word work year your and are but can did for get had has "
    "her him his how its let may not now off one our out own put say see set she the too two use was way who why you "
    "ing tion ment ness able ally less ough ould ight ance ence ious . In this . If you . It is . You can . There are "
    ", for example, . The . This . A , but , or , and that the in the of the to the on the for the and the from the "
    "with the by the at the is a to be can be it is as a of a in a I am I have do not you are will be has been "
)
# fmt: on
_FIELDS = (
    b"\xaetool_callarguments\xa3raw\xa9signature\xa8redacted\xa8provider\xa8thinking\xabtool_result\xa7call_id\xa8is_error"
    b"\xa5image\xa3url\xa4data\xa4mime\xa9image/png\xa6detail\xa4name\xa2id\xa4tool\xa6system"
    b"\xb1cache_read_tokens\xb2cache_write_tokens\xb0reasoning_tokens\xa4cost\xa6length\xaatool_calls\xa9cancelled"
    b"\xa9anthropic\xa6gemini\xa5local\xa4tiny\xa6openai\xa5gpt-5\xa6claude"
    b"\x84\xa4role\xa9assistant\xa7content\x92\x82\xa4type\xa4text\xa4text"
    b"\x91\x91\x82\xa4role\xa4user\xa7content\xd9\x91\x82\xa4role\xa9assistant\xa7content\xda\x01"
    b"\xa4stop\x82\xacinput_tokens\xcd\xadoutput_tokens\xccb5call_"
)

DICTIONARY = _WORDS.encode() + _FIELDS
